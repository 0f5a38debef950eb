use vgg_runtime::vgg;

vgg! {
    pub Net { fc-10 }
}

fn main() {}
