use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 {
        bn, conv3-8, maxpool, bn;
        fc-10
    }
}

fn main() {}
