//! What was measured, as Markdown and as JSON.

use std::fs;

use serde_json::{Value, json};

use crate::statistics::Statistics;

/// The name of this project's own runtime in the table.
pub(crate) const OURS: &str = "vgg";

/// Everything that was measured.
pub(crate) struct Table {
    /// Runs of each runtime, for each network and number of threads.
    pub(crate) runs: usize,
    /// Images of one inference.
    pub(crate) batch: usize,
    /// In the order of the measurements.
    pub(crate) rows: Vec<Row>,
}

/// One runtime on one network with one number of threads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) net: String,
    pub(crate) threads: usize,
    pub(crate) runtime: &'static str,
    /// What was measured, or why nothing was.
    pub(crate) outcome: Result<Numbers, String>,
}

/// What was measured. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) version: String,
    pub(crate) time: Statistics,
    pub(crate) load: f64,
    pub(crate) first: f64,
    pub(crate) peak_rss: Option<u64>,
    /// Largest difference of an output from this project's, as a part of the largest output; none without that output.
    pub(crate) difference: Option<f64>,
}

/// The fastest peer of one network with one number of threads, and how many times as long it takes.
struct Fastest<'a> {
    net: &'a str,
    threads: usize,
    runtime: &'static str,
    ratio: f64,
}

const NOTES: &str = "\
Every runtime is a process of its own; they take turns, one inference each, in another order each round. Times are those \
of each process's own clock, after 3 rounds that do not count. Weights and arithmetic are f32. `x vgg` is the median divided by vgg's: \
above 1 is slower. The spread is from the 10th to the 90th percentile, as a part of the median: above 10 % the machine was not quiet. \
`difference` is the largest of an output from vgg's, as a part of the largest output: with more than 1e-2 a runtime counts as computing \
something else. ncnn has no batches: it computes image by image. Loading is from the weights, the ONNX file or a converted one, which \
differ in kind: it is told, not compared.
";

impl Table {
    fn ours(&self, net: &str, threads: usize) -> Option<&Numbers> {
        let row = self.rows.iter().find(|row| (row.net.as_str(), row.threads, row.runtime) == (net, threads, OURS))?;
        row.outcome.as_ref().ok()
    }

    /// How many times as long as this project's runtime `row` takes.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let ours = self.ours(&row.net, row.threads)?;
        row.outcome.as_ref().ok().map(|numbers| numbers.time.median / ours.time.median)
    }

    /// The fastest peer wherever there is one.
    fn fastest(&self) -> Vec<Fastest<'_>> {
        let mut fastest: Vec<Fastest<'_>> = Vec::new();
        for row in self.rows.iter().filter(|row| row.runtime != OURS) {
            let Some(ratio) = self.ratio(row) else { continue };
            let found = Fastest { net: &row.net, threads: row.threads, runtime: row.runtime, ratio };
            match fastest.iter_mut().find(|other| (other.net, other.threads) == (found.net, found.threads)) {
                Some(other) if other.ratio <= ratio => {}
                Some(other) => *other = found,
                None => fastest.push(found),
            }
        }
        fastest
    }

    /// For each number of threads, the geometric mean of the fastest peers' ratios and how many they are.
    fn means(&self) -> Vec<(usize, f64, usize)> {
        let fastest = self.fastest();
        let mut threads: Vec<usize> = fastest.iter().map(|fastest| fastest.threads).collect();
        threads.sort_unstable();
        threads.dedup();
        let mean = |threads: usize| {
            let logarithms: Vec<f64> =
                fastest.iter().filter(|fastest| fastest.threads == threads).map(|fastest| fastest.ratio.ln()).collect();
            (threads, (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp(), logarithms.len())
        };
        threads.into_iter().map(mean).collect()
    }

    /// The text of a page of its own.
    pub(crate) fn to_markdown(&self) -> String {
        let Machine { cpu, cores, system } = Machine::this();
        let mut text = format!(
            "# vgg and its peers\n\n{cpu}, {cores} processors, {system}; {} image(s) an inference, {} runs.\n\n",
            self.batch, self.runs
        );
        text += "| net | threads | runtime | version | median ms | min | max | spread | x vgg | first ms | load ms | peak MB | difference |\n";
        text += "|---|---:|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
        for row in &self.rows {
            let Row { net, threads, runtime, outcome } = row;
            match outcome {
                Ok(Numbers { version, time, load, first, peak_rss, difference }) => {
                    let Statistics { median, min, max, spread } = time;
                    let ratio = self.ratio(row).map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
                    let difference = difference.map(|difference| format!("{difference:.1e}")).unwrap_or_default();
                    let peak = peak_rss.map(|peak| (peak / 1_000_000).to_string()).unwrap_or_default();
                    text += &format!(
                        "| {net} | {threads} | {runtime} | {version} | {median:.2} | {min:.2} | {max:.2} | {:.1} % | {ratio} | \
                         {first:.1} | {load:.1} | {peak} | {difference} |\n",
                        100.0 * spread
                    );
                }
                Err(reason) => {
                    let reason = reason.replace('|', "\\|").replace('\n', " ");
                    text += &format!("| {net} | {threads} | {runtime} | not measured: {reason} | | | | | | | | | |\n");
                }
            }
        }
        text += "\n| net | threads | fastest peer | x vgg |\n|---|---:|---|---:|\n";
        for Fastest { net, threads, runtime, ratio } in self.fastest() {
            text += &format!("| {net} | {threads} | {runtime} | {ratio:.2} |\n");
        }
        for (threads, mean, count) in self.means() {
            text += &format!("| geometric mean of {count} | {threads} | | {mean:.2} |\n");
        }
        text + "\n" + NOTES
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        let Machine { cpu, cores, system } = Machine::this();
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let mut value = json!({"net": row.net, "threads": row.threads, "runtime": row.runtime});
                match &row.outcome {
                    Ok(numbers) => {
                        value["version"] = json!(numbers.version);
                        value["median_ms"] = json!(numbers.time.median);
                        value["min_ms"] = json!(numbers.time.min);
                        value["max_ms"] = json!(numbers.time.max);
                        value["spread"] = json!(numbers.time.spread);
                        value["ratio"] = json!(self.ratio(row));
                        value["first_ms"] = json!(numbers.first);
                        value["load_ms"] = json!(numbers.load);
                        value["peak_rss_bytes"] = json!(numbers.peak_rss);
                        value["difference"] = json!(numbers.difference);
                    }
                    Err(reason) => value["error"] = json!(reason),
                }
                value
            })
            .collect();
        let fastest: Vec<Value> = self
            .fastest()
            .iter()
            .map(|f| json!({"net": f.net, "threads": f.threads, "runtime": f.runtime, "ratio": f.ratio}))
            .collect();
        let means: Vec<Value> = self
            .means()
            .iter()
            .map(|(threads, ratio, nets)| json!({"threads": threads, "ratio": ratio, "nets": nets}))
            .collect();
        json!({
            "machine": {"cpu": cpu, "processors": cores, "system": system},
            "batch": self.batch,
            "runs": self.runs,
            "rows": rows,
            "fastest_peers": fastest,
            "geometric_means": means,
        })
    }
}

/// What the measurements were made on.
struct Machine {
    cpu: String,
    cores: usize,
    system: String,
}

impl Machine {
    fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpu =
            model.map_or_else(|| "a processor that does not tell its name".to_owned(), |(_, name)| name.to_owned());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let system = format!("{} {} {}", std::env::consts::OS, kernel.trim(), std::env::consts::ARCH);
        Self { cpu, cores, system }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(net: &str, threads: usize, runtime: &'static str, median: f64) -> Row {
        let numbers = Numbers {
            version: "1".into(),
            time: Statistics::of(&[median]),
            load: 1.0,
            first: 2.0,
            peak_rss: Some(3_000_000),
            difference: Some(1e-7),
        };
        Row { net: net.into(), threads, runtime, outcome: Ok(numbers) }
    }

    fn table() -> Table {
        let failed = Row { net: "b".into(), threads: 1, runtime: "mnn", outcome: Err("no such operator | LRN".into()) };
        let rows = vec![
            row("a", 1, OURS, 10.0),
            row("a", 1, "ncnn", 40.0),
            row("a", 1, "mnn", 20.0),
            row("b", 1, OURS, 10.0),
            row("b", 1, "ncnn", 80.0),
            failed,
        ];
        Table { runs: 1, batch: 1, rows }
    }

    #[test]
    fn the_fastest_peer_of_each_net_counts() {
        let document = table().to_json();
        assert_eq!(document["fastest_peers"][0], json!({"net": "a", "threads": 1, "runtime": "mnn", "ratio": 2.0}));
        assert_eq!(document["fastest_peers"][1]["runtime"], "ncnn");
        let mean = document["geometric_means"][0]["ratio"].as_f64().unwrap();
        assert!((mean - 4.0).abs() < 1e-12, "{mean}");
        assert_eq!(document["geometric_means"][0]["nets"], 2);
    }

    #[test]
    fn a_peer_that_failed_stands_in_the_table() {
        let text = table().to_markdown();
        assert!(text.contains("| b | 1 | mnn | not measured: no such operator \\| LRN |"), "{text}");
        assert!(text.contains("| a | 1 | mnn | 1 | 20.00 | 20.00 | 20.00 | 0.0 % | 2.00 |"), "{text}");
        assert!(text.contains("| geometric mean of 2 | 1 | | 4.00 |"), "{text}");
        let document = table().to_json();
        assert_eq!(document["rows"][5]["error"], "no such operator | LRN");
        assert_eq!(document["rows"][1]["ratio"], 4.0);
    }

    #[test]
    fn without_our_own_time_there_are_no_ratios() {
        let mut table = table();
        table.rows.retain(|row| row.runtime != OURS);
        assert!(table.fastest().is_empty() && table.means().is_empty());
        assert!(table.to_json()["rows"][0]["ratio"].is_null());
    }
}
