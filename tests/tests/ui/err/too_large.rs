use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 1024 x 1024 { fc-65536, fc-65536 }
}

fn main() {}
