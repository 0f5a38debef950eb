use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 {
        conv3-8;
        fc-10, maxpool;
        conv3-8
    }
}

fn main() {}
