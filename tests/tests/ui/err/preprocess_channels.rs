use vgg_runtime::vgg;

vgg! {
    pub Net: 1 x 32 x 32 {
        preprocess torchvision;
        conv3-4, fc-10
    }
}

fn main() {}
