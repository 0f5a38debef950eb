use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 1 x 9 {
        conv3-8, maxpool;
        fc-10
    }
}

fn main() {}
