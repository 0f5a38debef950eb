use vgg_runtime::vgg;

vgg! {
    #[derive(Debug)]
    pub Net: 3 x 8 x 8 { fc-10 }
}

fn main() {}
