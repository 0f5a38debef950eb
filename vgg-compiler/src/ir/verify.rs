//! The gate between a graph and everything that emits: whoever holds a [`TypedGraph`] need not check again.

use std::collections::BTreeSet;
use std::ops::Deref;

use super::graph::{Graph, Node, ParamSource, ValueId};
use super::op::Op;
use super::precision::Precision;
use super::shape::{self, Shape, ShapeError};

/// A graph whose invariants hold and whose shapes are known. [`verify`] is the only way to one.
#[derive(Debug, Clone, PartialEq)]
pub struct TypedGraph {
    graph: Graph,
}

impl TypedGraph {
    /// The shape of `value`, without the batch dimension.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.values[value.0].shape.unwrap_or(Shape::Flat { features: 0 })
    }

    /// The input's shape.
    pub fn input_shape(&self) -> Shape {
        self.shape(self.graph.input)
    }

    /// The first output's shape.
    pub fn output_shape(&self) -> Shape {
        self.graph.outputs.first().map_or(Shape::Flat { features: 0 }, |&output| self.shape(output))
    }

    /// The shapes of all outputs.
    pub fn output_shapes(&self) -> impl ExactSizeIterator<Item = Shape> + '_ {
        self.graph.outputs.iter().map(|&output| self.shape(output))
    }

    /// Trained numbers in all parameters.
    pub fn param_count(&self) -> usize {
        self.graph.params.iter().map(|param| param.trained()).sum()
    }

    /// Trained numbers in the parameters of one node.
    pub fn trained(&self, node: &Node) -> usize {
        node.params.iter().map(|param| self.graph.params[param.0].trained()).sum()
    }

    /// Bytes of the parameters of one node, as its precision has them.
    pub fn param_bytes(&self, node: &Node) -> usize {
        node.params.iter().map(|param| self.graph.params[param.0].bytes()).sum()
    }

    /// Multiply-accumulates of one node for one image: those of convolutions and fully connected layers.
    pub fn macs(&self, node: &Node) -> u64 {
        match node.params.first().map(|param| &self.graph.params[param.0].shape[..]) {
            Some(&[_, channels, kernel_height, kernel_width]) => {
                self.shape(node.output).len() as u64 * (channels * kernel_height * kernel_width) as u64
            }
            Some(&[outputs, inputs]) => outputs as u64 * inputs as u64,
            _ => 0,
        }
    }

    /// Multiply-accumulates of the whole network for one image.
    pub fn total_macs(&self) -> u64 {
        self.graph.nodes.iter().map(|node| self.macs(node)).sum()
    }

    /// Gives the graph back, for passes that go on changing it.
    pub fn into_graph(self) -> Graph {
        self.graph
    }
}

impl Deref for TypedGraph {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.graph
    }
}

/// What is wrong with a graph. Each variant names the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A value, parameter or output index that does not exist, or is used before it is made.
    #[error("layer `{node}` reads {what} that no earlier layer makes")]
    Undefined {
        /// The node.
        node: String,
        /// What it reads.
        what: String,
    },
    /// Two nodes, values or parameters of one name, or a value made twice.
    #[error("the name `{name}` stands for two {what}; names must be unique")]
    Duplicate {
        /// The name.
        name: String,
        /// What bears it.
        what: &'static str,
    },
    /// A wrong number of activations or parameters.
    #[error("layer `{node}` ({op}) takes {expected} {what}, but has {arrived}")]
    Arity {
        /// The node.
        node: String,
        /// Its operator.
        op: &'static str,
        /// Activations or parameters.
        what: &'static str,
        /// How many it takes.
        expected: usize,
        /// How many it has.
        arrived: usize,
    },
    /// A parameter whose extents are not those that the layer needs.
    #[error("parameter `{key}` of layer `{node}` has shape {arrived:?}, expected {expected:?}")]
    ParamShape {
        /// The node.
        node: String,
        /// The parameter.
        key: String,
        /// Its extents.
        arrived: Vec<usize>,
        /// The extents that the layer needs.
        expected: Vec<usize>,
    },
    /// Numbers of a parameter that are written down as no kernel reads them.
    #[error(
        "parameter `{key}` of layer `{node}` is {arrived}, expected f32: only weights of fully connected layers are rounded"
    )]
    Precision {
        /// The node.
        node: String,
        /// The parameter.
        key: String,
        /// How its numbers are written down.
        arrived: Precision,
    },
    /// A shape that the layer cannot take.
    #[error("layer `{node}`: {error}")]
    Shape {
        /// The node.
        node: String,
        /// Why.
        error: ShapeError,
    },
    /// The network has no shape for its input, or an empty one.
    #[error("the input `{name}` has no elements; give it a shape")]
    Input {
        /// The input.
        name: String,
    },
    /// An output is made by no node.
    #[error("the network has no layers between its input and an output")]
    Empty,
    /// There is no output.
    #[error("the network has no output")]
    NoOutput,
}

/// Checks every invariant of `graph` and infers its shapes. All violations are reported, as far as they can be told apart.
pub fn verify(mut graph: Graph) -> Result<TypedGraph, Vec<VerifyError>> {
    let mut errors = Vec::new();
    unique_names(&graph, &mut errors);
    match graph.values.get(graph.input.0) {
        Some(input) if input.shape.is_some_and(|shape| !shape.is_empty()) => {}
        Some(input) => errors.push(VerifyError::Input { name: input.name.clone() }),
        None => errors.push(VerifyError::Input { name: format!("value {}", graph.input.0) }),
    }
    if graph.outputs.is_empty() {
        errors.push(VerifyError::NoOutput);
    }
    if graph.nodes.is_empty() || graph.outputs.contains(&graph.input) {
        errors.push(VerifyError::Empty);
    }
    if !errors.is_empty() {
        return Err(errors);
    }

    let mut made = BTreeSet::from([graph.input]);
    for index in 0..graph.nodes.len() {
        let before = errors.len();
        references(&graph, &graph.nodes[index], &made, &mut errors);
        if errors.len() > before {
            continue;
        }
        let node = &graph.nodes[index];
        let Some(inputs) = node.inputs.iter().map(|input| graph.values[input.0].shape).collect::<Option<Vec<_>>>()
        else {
            continue; // the error that left one unknown is already reported
        };
        param_shapes(&graph, node, inputs[0], &mut errors);
        match shape::infer(&node.op, &inputs) {
            Ok(output) => {
                let id = node.output;
                made.insert(id);
                graph.values[id.0].shape = Some(output);
            }
            Err(error) => {
                errors.push(VerifyError::Shape { node: node.name.clone(), error });
                return Err(errors); // what follows would only repeat it
            }
        }
    }
    if errors.is_empty() {
        outputs(&graph, &made, &mut errors);
    }
    if errors.is_empty() { Ok(TypedGraph { graph }) } else { Err(errors) }
}

fn unique_names(graph: &Graph, errors: &mut Vec<VerifyError>) {
    let mut check = |what, names: &mut dyn Iterator<Item = &String>| {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                errors.push(VerifyError::Duplicate { name: name.clone(), what });
            }
        }
    };
    check("layers", &mut graph.nodes.iter().map(|node| &node.name));
    check("values", &mut graph.values.iter().map(|value| &value.name));
    check("parameters", &mut graph.params.iter().map(|param| &param.key));
    check("initializers", &mut graph.params.iter().map(|param| &param.name));
}

fn outputs(graph: &Graph, made: &BTreeSet<ValueId>, errors: &mut Vec<VerifyError>) {
    let mut seen = BTreeSet::new();
    for output in &graph.outputs {
        if !made.contains(output) {
            errors.push(VerifyError::Undefined { node: graph.name.clone(), what: "an output".into() });
        } else if !seen.insert(output) {
            errors.push(VerifyError::Duplicate { name: graph.values[output.0].name.clone(), what: "outputs" });
        }
    }
}

fn references(graph: &Graph, node: &Node, made: &BTreeSet<ValueId>, errors: &mut Vec<VerifyError>) {
    let arity = |what, expected, arrived| VerifyError::Arity {
        node: node.name.clone(),
        op: node.op.op_type(),
        what,
        expected,
        arrived,
    };
    let taken = node.op.arity(node.inputs.len());
    if node.inputs.len() != taken {
        errors.push(arity("activations", taken, node.inputs.len()));
    }
    let expected = node.op.param_suffixes().len() + usize::from(scaled(graph, node));
    if node.params.len() != expected {
        errors.push(arity("parameters", expected, node.params.len()));
    }
    for input in node.inputs.iter().filter(|input| !made.contains(input)) {
        let what = graph.values.get(input.0).map_or(format!("value {}", input.0), |value| format!("`{}`", value.name));
        errors.push(VerifyError::Undefined { node: node.name.clone(), what });
    }
    for param in node.params.iter().filter(|param| param.0 >= graph.params.len()) {
        errors.push(VerifyError::Undefined { node: node.name.clone(), what: format!("parameter {}", param.0) });
    }
    if node.output.0 >= graph.values.len() {
        errors.push(VerifyError::Undefined { node: node.name.clone(), what: format!("value {}", node.output.0) });
    } else if made.contains(&node.output) {
        errors.push(VerifyError::Duplicate { name: graph.values[node.output.0].name.clone(), what: "results" });
    }
}

/// Whether the first parameter of `node` is an int8 weight, so that scales follow the others.
fn scaled(graph: &Graph, node: &Node) -> bool {
    let weight = node.params.first().and_then(|param| graph.params.get(param.0));
    weight.is_some_and(|weight| weight.precision() == Precision::Int8)
}

fn param_shapes(graph: &Graph, node: &Node, input: Shape, errors: &mut Vec<VerifyError>) {
    let Ok(mut expected) = shape::param_shapes(&node.op, input) else {
        return; // the shape of the input is wrong, which `infer` reports
    };
    if scaled(graph, node) {
        expected.extend(expected.first().and_then(|weight| weight.get(..1)).map(<[usize]>::to_vec));
    }
    for (index, param) in node.params.iter().map(|param| &graph.params[param.0]).enumerate() {
        let rounded = matches!(node.op, Op::Gemm { .. }) && index == 0;
        let scales = index == node.op.param_suffixes().len();
        if (param.precision() != Precision::F32 && !rounded)
            || matches!(param.source, ParamSource::RowScales { .. }) != scales
        {
            let (key, arrived) = (param.key.clone(), param.precision());
            errors.push(VerifyError::Precision { node: node.name.clone(), key, arrived });
        }
    }
    for (param, expected) in node.params.iter().map(|param| &graph.params[param.0]).zip(expected) {
        if param.shape != expected {
            errors.push(VerifyError::ParamShape {
                node: node.name.clone(),
                key: param.key.clone(),
                arrived: param.shape.clone(),
                expected,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::testing::{Builder, conv3, image};
    use crate::ir::{Op, Value};

    fn residual() -> Graph {
        Builder::new(image(4, 5, 5))
            .op("conv1", conv3(4))
            .op("relu1", Op::Relu)
            .join("sum", Op::Add, &["conv1", "relu1"])
            .join("both", Op::Concat, &["sum", "image", "relu1"])
            .finish()
    }

    #[test]
    fn branches_meet_again() {
        let mut graph = residual();
        let sum = graph.nodes[2].output;
        graph.outputs.push(sum);
        let typed = verify(graph).unwrap();
        assert_eq!(typed.output_shapes().collect::<Vec<_>>(), [image(12, 5, 5), image(4, 5, 5)]);
    }

    #[test]
    fn outputs_are_made_and_differ() {
        let broken = |change: &dyn Fn(&mut Graph)| {
            let mut graph = residual();
            change(&mut graph);
            verify(graph).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(broken(&|graph| graph.outputs.clear()), "the network has no output");
        assert!(broken(&|graph| graph.outputs.push(graph.input)).contains("between its input and an output"));
        assert!(broken(&|graph| graph.outputs.push(graph.outputs[0])).contains("`both` stands for two outputs"));
        let unmade = |graph: &mut Graph| {
            graph.values.push(Value { name: "lost".into(), shape: None });
            graph.outputs.push(ValueId(graph.values.len() - 1));
        };
        assert!(broken(&unmade).contains("an output that no earlier layer makes"));
    }

    #[test]
    fn every_operator_has_its_number_of_operands() {
        for (op, count, expected) in [(Op::Add, 1, 2), (Op::Mul, 3, 2), (Op::Relu, 2, 1), (Op::Concat, 0, 1)] {
            let mut graph = residual();
            graph.nodes[2].op = op;
            graph.nodes[2].inputs = vec![graph.nodes[0].output; count];
            let error = &verify(graph).unwrap_err()[0];
            assert!(
                matches!(error, VerifyError::Arity { what: "activations", expected: e, arrived, .. } if (*e, *arrived) == (expected, count)),
                "{error}"
            );
        }
    }
}
