use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 { dropout }
}

fn main() {}
