use vgg_runtime::vgg;

vgg! {
    pub fn: 3 x 8 x 8 { fc-10 }
}

fn main() {}
