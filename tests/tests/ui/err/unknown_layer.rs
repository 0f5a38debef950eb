use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 32 x 32 {
        conv3-16, maxpol;
        fc-10, softmax
    }
}

fn main() {}
