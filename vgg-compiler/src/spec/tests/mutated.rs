//! Mutated texts: they are accepted or refused, and never make the parser panic.

use super::random::Random;
use crate::spec::parse::parse_file;
use crate::spec::print::print;
use crate::spec::variants::VARIANTS_TEXT;

const WORDS: [&str; 40] = [
    "conv3-64",
    "conv",
    "conv3x5",
    "fc-",
    "fc-10",
    "bn",
    "lrn",
    "maxpool",
    "avgpool",
    "dropout",
    "softmax",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ";",
    ":",
    "-",
    "=",
    "x",
    "3x",
    "0x1",
    "224",
    "1e9",
    "5e-4",
    "stride 2",
    "pad",
    "ceil",
    "linear",
    "k",
    "\"",
    "'",
    "///",
    "#[doc = 1]",
    "vgg!",
    "pub(in a)",
    "\0",
];

fn mutate(random: &mut Random, text: &mut String) {
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len() + 1);
    let end = (at + random.below(12)).min(chars.len());
    match random.below(5) {
        0 => drop(chars.drain(at..end)),
        1 => drop(chars.splice(at..at, random.pick(&WORDS).chars())),
        2 => drop(chars.splice(at..end, random.pick(&WORDS).chars())),
        3 => {
            let copied: Vec<char> = chars[at..end].to_vec();
            let to = random.below(chars.len() + 1);
            drop(chars.splice(to..to, copied));
        }
        _ => {
            let c = char::from_u32(u32::try_from(random.below(0x300)).expect("small")).expect("below the surrogates");
            chars.insert(at, c);
        }
    }
    *text = chars.into_iter().collect();
}

#[test]
fn mutated_texts_never_panic() {
    let mut random = Random(2);
    let variants: Vec<&str> = VARIANTS_TEXT.split_inclusive("\n}\n").filter(|text| text.contains('{')).collect();
    assert_eq!(variants.len(), 9);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..6000 {
        let mut text = if round % 2 == 0 { random.pick(&variants).to_owned() } else { print(&random.model()) };
        for _ in 0..1 + random.below(4) {
            mutate(&mut random, &mut text);
        }
        match parse_file("mutated.vgg", &text) {
            Ok(spec) => {
                accepted += 1;
                let printed = print(&spec);
                let again = parse_file("printed.vgg", &printed).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
                assert_eq!(print(&again), printed, "{text}");
            }
            Err(errors) => {
                refused += 1;
                let lines = text.split('\n').count();
                assert!(!errors.errors.is_empty() && errors.errors.iter().all(|error| error.line <= lines), "{text}");
                assert!(errors.to_string().starts_with("error: mutated.vgg:"), "{text}");
            }
        }
    }
    assert!(accepted > 100 && refused > 1000, "{accepted} accepted, {refused} refused");
}
