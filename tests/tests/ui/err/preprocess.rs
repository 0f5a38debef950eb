use vgg_runtime::vgg;

vgg! {
    pub Net: 1 x 32 x 32 {
        preprocess torchvision(mean 0.5 0.5, resize 16);
        conv3-4, fc-10
    }
}

fn main() {}
