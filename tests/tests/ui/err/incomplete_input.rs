use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 224 { fc-10 }
}

fn main() {}
