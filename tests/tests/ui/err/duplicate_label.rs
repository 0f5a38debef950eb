use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 {
        first: conv3-8, first: conv3-8;
        input: fc-10
    }
}

fn main() {}
