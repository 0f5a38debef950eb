//! What was measured, for people and for programs.

use serde_json::{Value, json};
use vgg_compiler::ir::Precision;

use super::roofline::{Limits, Work};
use super::statistics::Statistics;
use crate::table::{Align, Table, bytes};

/// The spread of a quiet machine is below this.
pub const NOISE: f64 = 0.1;

/// What was measured of one network. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The model, as it was named.
    pub model: String,
    /// Where its weights come from.
    pub weights: String,
    /// Images of one inference.
    pub batch: usize,
    /// Runs that count.
    pub runs: usize,
    /// Threads.
    pub threads: usize,
    /// How the weights of fully connected layers are kept.
    pub precision: Precision,
    /// Vector instructions.
    pub isa: &'static str,
    /// Of one inference.
    pub time: Statistics,
    /// Of the first inference.
    pub first: f64,
    /// Of the second, which packs the weights that the first transformed as it went.
    pub second: f64,
    /// From the weights file to packed weights.
    pub load: f64,
    /// The largest resident set after the second inference, in bytes, where the system tells.
    pub peak_rss: Option<u64>,
    /// What the machine can do at most.
    pub limits: Limits,
    /// The steps of the plan, in order.
    pub layers: Vec<Layer>,
    /// ONNX Runtime on the same network.
    pub ort: Option<Peer>,
}

/// What was measured of one step of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name, as `vgg show` has it.
    pub name: String,
    /// The layers of the network that it computes. None for a mere change of layout.
    pub layers: Vec<String>,
    /// What it computes, and how.
    pub computes: String,
    /// The algorithm, for a convolution.
    pub algorithm: Option<&'static str>,
    /// How long it takes.
    pub time: Statistics,
    /// What it has to do.
    pub work: Work,
}

/// What was measured of ONNX Runtime.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Its version.
    pub version: String,
    /// Of one inference.
    pub time: Statistics,
    /// Of the first inference.
    pub first: f64,
    /// From the file to a session.
    pub load: f64,
}

impl Report {
    /// The least time that the machine's limits allow: the sum over the steps.
    pub fn floor(&self) -> f64 {
        self.layers.iter().map(|layer| self.limits.floor(layer.work).0).sum()
    }

    /// How many times as long ONNX Runtime takes.
    pub fn ratio(&self) -> Option<f64> {
        self.ort.as_ref().map(|ort| ort.time.median / self.time.median)
    }

    /// What is to be said when the machine did something else meanwhile.
    pub fn warning(&self) -> Option<String> {
        let spread = self.ort.iter().map(|ort| ort.time.spread).fold(self.time.spread, f64::max);
        let percent = spread * 100.0;
        (spread > NOISE).then(|| {
            format!(
                "the machine is noisy: the middle eight tenths of the runs are {percent:.0} % apart; close other programs, or ask \
                 for more --runs"
            )
        })
    }

    /// Share of the machine's limit in percent, for work that took `time`.
    fn percent(&self, work: Work, time: f64) -> f64 {
        100.0 * self.limits.floor(work).0 / time
    }

    /// The table and what stands around it.
    pub fn to_text(&self) -> String {
        let Self { model, weights, batch, runs, threads, precision, isa, time, limits, .. } = self;
        let mut table = Table::new(&[
            ("step", Align::Left),
            ("computes", Align::Left),
            ("median ms", Align::Right),
            ("% of time", Align::Right),
            ("GFLOP/s", Align::Right),
            ("GB/s", Align::Right),
            ("limit", Align::Left),
            ("% of limit", Align::Right),
        ]);
        let sum: f64 = self.layers.iter().map(|layer| layer.time.median).sum();
        let mut row =
            |name: &str, computes: &str, work: Work, median: f64, share: String, limit: &str, percent: f64| {
                let flops = if work.flops > 0.0 { format!("{:.1}", rate(work.flops, median)) } else { String::new() };
                table.row(vec![
                    name.to_owned(),
                    computes.to_owned(),
                    format!("{median:.3}"),
                    share,
                    flops,
                    format!("{:.1}", rate(work.bytes, median)),
                    limit.to_owned(),
                    format!("{percent:.0}"),
                ]);
            };
        for layer in &self.layers {
            let (work, median) = (layer.work, layer.time.median);
            let (_, bound) = limits.floor(work);
            let share = format!("{:.1}", 100.0 * median / sum);
            row(&layer.name, &layer.computes, work, median, share, bound.name(), self.percent(work, median));
        }
        let total = self.layers.iter().map(|layer| layer.work).sum();
        row("total", "", total, time.median, String::new(), "", 100.0 * self.floor() / time.median);

        let images = if *batch == 1 { "1 image".to_owned() } else { format!("{batch} images") };
        let plural = if *threads == 1 { "" } else { "s" };
        let mut text = format!("{model}: {images}, {precision}, {threads} thread{plural}, {isa}, weights {weights}\n");
        text += &format!(
            "the machine's limits with {threads} thread{plural}: {:.1} GFLOP/s of multiply-adds, {:.1} GB/s read from memory\n\n",
            limits.flops / 1e9,
            limits.bytes / 1e9
        );
        text += &table.render();
        text += &format!("\n{} of {runs} runs, {:.2} images/s\n", times(*time), self.images_per_second(time.median));
        let memory = self.peak_rss.map(|peak| format!(", peak memory {}", bytes(peak))).unwrap_or_default();
        text += &format!(
            "load {:.1} ms, first inference {:.1} ms, second {:.1} ms{memory}\n",
            self.load, self.first, self.second
        );
        text += &format!(
            "the limits allow {:.2} ms: {:.0} % of them reached\n",
            self.floor(),
            100.0 * self.floor() / time.median
        );
        if let Some(ort) = &self.ort {
            let ratio = ort.time.median / time.median;
            text += &format!(
                "\nONNX Runtime {}: {}, load {:.1} ms, first inference {:.1} ms\nit takes {ratio:.2} times as long\n",
                ort.version,
                times(ort.time),
                ort.load,
                ort.first
            );
        }
        text
    }

    /// The document that the help describes.
    pub fn to_json(&self) -> Value {
        let layers: Vec<Value> = self.layers.iter().map(|layer| self.layer_json(layer)).collect();
        let limits = json!({"gflops": self.limits.flops / 1e9, "gbytes_per_second": self.limits.bytes / 1e9});
        let ort = self.ort.as_ref().map(|ort| {
            json!({
                "version": ort.version,
                "median_ms": ort.time.median,
                "min_ms": ort.time.min,
                "max_ms": ort.time.max,
                "spread": ort.time.spread,
                "noisy": ort.time.spread > NOISE,
                "images_per_second": self.images_per_second(ort.time.median),
                "first_ms": ort.first,
                "load_ms": ort.load,
                "ratio": self.ratio(),
            })
        });
        json!({
            "model": self.model,
            "weights": self.weights,
            "batch": self.batch,
            "runs": self.runs,
            "threads": self.threads,
            "precision": self.precision.name(),
            "isa": self.isa,
            "median_ms": self.time.median,
            "min_ms": self.time.min,
            "max_ms": self.time.max,
            "spread": self.time.spread,
            "noisy": self.time.spread > NOISE,
            "images_per_second": self.images_per_second(self.time.median),
            "first_ms": self.first,
            "second_ms": self.second,
            "load_ms": self.load,
            "peak_rss_bytes": self.peak_rss,
            "limits": limits,
            "floor_ms": self.floor(),
            "limit_percent": 100.0 * self.floor() / self.time.median,
            "layers": layers,
            "ort": ort,
        })
    }

    fn layer_json(&self, layer: &Layer) -> Value {
        let Layer { name, layers, computes, algorithm, time, work } = layer;
        let (floor, bound) = self.limits.floor(*work);
        json!({
            "name": name,
            "layers": layers,
            "computes": computes,
            "algorithm": algorithm,
            "median_ms": time.median,
            "min_ms": time.min,
            "max_ms": time.max,
            "spread": time.spread,
            "flops": work.flops,
            "bytes": work.bytes,
            "gflops": rate(work.flops, time.median),
            "gbytes_per_second": rate(work.bytes, time.median),
            "limit": bound.name(),
            "floor_ms": floor,
            "limit_percent": self.percent(*work, time.median),
        })
    }

    fn images_per_second(&self, median: f64) -> f64 {
        self.batch as f64 * 1e3 / median
    }
}

/// 10^9 of `count` a second, when they took `time` milliseconds.
fn rate(count: f64, time: f64) -> f64 {
    count / time / 1e6
}

fn times(time: Statistics) -> String {
    let Statistics { median, min, max, spread } = time;
    format!("median {median:.3} ms (min {min:.3}, max {max:.3}, spread {:.1} %)", 100.0 * spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let time = |median: f64| Statistics { median, min: median / 2.0, max: 2.0 * median, spread: 0.05 };
        let layer = |name: &str, median: f64, flops: f64, bytes: f64| Layer {
            name: name.into(),
            layers: vec![name.into()],
            computes: "something".into(),
            algorithm: None,
            time: time(median),
            work: Work { flops, arithmetic: flops, bytes },
        };
        Report {
            model: "m".into(),
            weights: "seeded:0".into(),
            batch: 2,
            runs: 15,
            threads: 1,
            precision: Precision::F32,
            isa: "portable",
            time: time(50.0),
            first: 70.0,
            second: 80.0,
            load: 100.0,
            peak_rss: Some(1 << 30),
            limits: Limits { flops: 100e9, bytes: 10e9 },
            layers: vec![layer("conv", 40.0, 2e9, 1e6), layer("fc", 10.0, 1e6, 50e6)],
            ort: Some(Peer { version: "1.2.3".into(), time: time(75.0), first: 90.0, load: 120.0 }),
        }
    }

    #[test]
    fn rates_and_shares_follow_from_times_and_limits() {
        let document = report().to_json();
        let [conv, fc] = [&document["layers"][0], &document["layers"][1]];
        let close = |value: &Value, expected: f64| {
            assert!((value.as_f64().unwrap() - expected).abs() < 1e-9 * expected, "{value}, expected {expected}");
        };
        // 2e9 operations in 40 ms; at the peak they take 20 ms.
        close(&conv["gflops"], 50.0);
        close(&conv["limit_percent"], 50.0);
        assert_eq!(conv["limit"], "arithmetic");
        // 50e6 bytes in 10 ms; memory gives them in 5 ms.
        close(&fc["gbytes_per_second"], 5.0);
        close(&fc["limit_percent"], 50.0);
        assert_eq!(fc["limit"], "memory");
        close(&document["floor_ms"], 25.0);
        close(&document["limit_percent"], 50.0);
        close(&document["images_per_second"], 40.0);
        close(&document["ort"]["ratio"], 1.5);
        close(&document["limits"]["gbytes_per_second"], 10.0);
    }

    #[test]
    fn the_text_says_the_same() {
        let text = report().to_text();
        for part in [
            "m: 2 images, f32, 1 thread, portable, weights seeded:0",
            "100.0 GFLOP/s of multiply-adds, 10.0 GB/s read from memory",
            "median 50.000 ms (min 25.000, max 100.000, spread 5.0 %) of 15 runs, 40.00 images/s",
            "load 100.0 ms, first inference 70.0 ms, second 80.0 ms, peak memory 1.07 GB",
            "the limits allow 25.00 ms: 50 % of them reached",
            "ONNX Runtime 1.2.3: median 75.000 ms",
            "it takes 1.50 times as long",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let alone = Report { ort: None, peak_rss: None, ..report() }.to_text();
        assert!(!alone.contains("ONNX Runtime") && !alone.contains("peak memory"), "{alone}");
    }

    #[test]
    fn noise_of_either_side_is_told() {
        assert_eq!(report().warning(), None);
        let mut noisy = report();
        noisy.time.spread = 0.2;
        assert!(noisy.warning().unwrap().contains("20 % apart"));
        let mut noisy = report();
        noisy.ort.as_mut().unwrap().time.spread = 0.3;
        assert!(noisy.warning().unwrap().contains("30 % apart"));
        assert_eq!(noisy.to_json()["noisy"], false);
        assert_eq!(noisy.to_json()["ort"]["noisy"], true);
    }
}
