use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 8 x 8 {
        conv3-99999999, lrn(alpha -1, beta 0), maxpool(2, pad 2);
        fc-10, dropout(1)
    }
}

fn main() {}
