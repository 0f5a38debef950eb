use vgg_runtime::vgg;

vgg! {
    pub Net = vgg-16;
}

fn main() {}
