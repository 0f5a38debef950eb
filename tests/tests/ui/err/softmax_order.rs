use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 {
        conv3-8, softmax;
        fc-10, softmax, fc-5
    }
}

fn main() {}
