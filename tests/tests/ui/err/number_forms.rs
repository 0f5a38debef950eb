use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 {
        conv3-8(stride 1.5), lrn(k 2f32), maxpool(2, 3);
        fc-0x10
    }
}

fn main() {}
