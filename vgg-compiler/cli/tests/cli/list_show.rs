use serde_json::json;

use crate::support::{Place, TINY, keys};

#[test]
fn list_has_the_nine_with_the_published_figures() {
    let place = Place::empty();
    let list = place.json(&["list", "--json"]);
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|variant| variant["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["vgg-f", "vgg-m", "vgg-s", "vgg-a", "vgg-a-lrn", "vgg-b", "vgg-c", "vgg-d", "vgg-e"]);
    let fields = ["name", "aliases", "type", "parameters", "macs", "input", "output", "source"];
    assert!(list.as_array().unwrap().iter().all(|variant| keys(variant) == fields));
    let d = &list[7];
    assert_eq!(
        (&d["aliases"], &d["parameters"], &d["macs"]),
        (&json!(["vgg16"]), &json!(138_357_544), &json!(15_470_264_320_u64))
    );
    assert_eq!((&d["input"], &d["output"]), (&json!([3, 224, 224]), &json!([1000])));
    let table = place.ok(&["list"]);
    let row = table.lines().find(|line| line.starts_with("vgg-d ")).unwrap();
    assert!(row.contains("vgg16") && row.contains("138,357,544") && row.contains("15,470,264,320"), "{row}");
}

#[test]
fn show_has_the_layers_and_the_plan() {
    let place = Place::new();
    let table = place.ok(&["show", "vgg16"]);
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(row("conv1_2 ").contains("36,928"), "{table}");
    assert!(row("total ").contains("138,357,544"), "{table}");
    assert!(table.contains("weights 553.4 MB"), "{table}");

    let tiny = place.json(&["show", "tiny.vgg", "--json"]);
    assert_eq!(
        keys(&tiny),
        [
            "model",
            "precision",
            "name",
            "docs",
            "recognised",
            "preprocessing",
            "input",
            "output",
            "outputs",
            "parameters",
            "macs",
            "weights_bytes",
            "arena_bytes",
            "layers",
            "steps"
        ]
    );
    assert_eq!(tiny["docs"], json!(["A small one."]));
    let layers = tiny["layers"].as_array().unwrap();
    let expected = ["name", "op", "output", "parameters", "bytes", "macs", "step", "in_file"];
    assert!(layers.iter().all(|layer| keys(layer) == expected));
    let relu = layers.iter().find(|layer| layer["name"] == "relu1_1").unwrap();
    assert_eq!((&relu["op"], &relu["step"], &relu["output"]), (&json!("Relu"), &json!("conv1_1"), &json!([8, 16, 16])));
    let steps = tiny["steps"].as_array().unwrap();
    let fields = ["name", "layers", "computes", "algorithm", "output", "parameters", "bytes", "macs"];
    assert!(steps.iter().all(|step| keys(step) == fields));
    assert_eq!((&steps[0]["layers"], &steps[0]["algorithm"]), (&json!(["conv1_1", "relu1_1"]), &json!("direct")));
    let sum: u64 = steps.iter().map(|step| step["parameters"].as_u64().unwrap()).sum();
    assert_eq!(json!(sum), tiny["parameters"]);
}

#[test]
fn the_printed_declaration_is_a_model() {
    let place = Place::new();
    let printed = place.ok(&["show", "vgg-f", "--vgg"]);
    place.write("f.vgg", &printed);
    assert_eq!(place.ok(&["show", "f.vgg", "--vgg"]), printed);
    let [variant, file] = ["vgg-f", "f.vgg"].map(|model| place.json(&["show", model, "--json"]));
    assert_eq!(variant["steps"], file["steps"]);
    assert_eq!(place.ok(&["show", "tiny.vgg", "--vgg"]).lines().next(), TINY.lines().next());
}

#[test]
fn help_and_version() {
    let place = Place::empty();
    assert_eq!(place.ok(&["--version"]), format!("vgg {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["list", "show", "export", "build", "run", "verify"] {
        let help = place.ok(&[command, "--help"]);
        assert!(help.contains("Examples:") && help.contains("--quiet"), "{help}");
        assert!(place.ok(&["--help"]).lines().any(|line| line.trim_start().starts_with(command)));
    }
    // What is said of options that do nothing yet is true: there are none.
    for absent in ["--svg", "--html"] {
        let all: String = ["show", "build", "run", "verify"].map(|command| place.ok(&[command, "--help"])).concat();
        assert!(!all.contains(absent), "{absent}");
    }
}
