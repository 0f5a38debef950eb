use vgg_runtime::vgg;

vgg! {
    A: 3 x 8 x 8 { fc-10 }
    B: 3 x 8 x 8 { fc-10 }
}

fn main() {}
