use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 32 x 32 {
        conv3-16(strid 2), maxpool;
        fc-10(lineer)
    }
}

fn main() {}
