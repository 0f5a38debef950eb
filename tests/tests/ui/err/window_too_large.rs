use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 {
        conv3-8, maxpool;
        conv3-8, maxpool;
        conv5-8(pad 0), maxpool;
        fc-10
    }
}

fn main() {}
