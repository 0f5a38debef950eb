use vgg_runtime::vgg;

vgg! {
    pub Net: 3 x 0 x 32 {
        conv3-0, maxpol;
        conv3-8(strid 2, pad -1), bn(eps 0);
        fc-10(linear, linear)
    }
}

fn main() {}
