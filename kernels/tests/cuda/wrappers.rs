//! What the simulator cannot see, since it has functions of its own in their place: the wrappers of primitives.cuh. nvcc emits
//! each alone, and the instruction that comes out has to be the one that the PTX manual describes, operand by operand.
//!
//! Registers are followed back to what they were loaded from and forward to where they are stored, and named so: `floats[0]`,
//! `out_bits[3]`. The instructions below were written from the manual (PTX ISA 8.0), not from primitives.cuh.

use std::collections::HashMap;
use std::path::Path;

use crate::compile::{temporary, tool};

/// Kernel of wrappers.cu, and its instruction with the operands' places.
const INSTRUCTIONS: [(&str, &str); 18] = [
    // 9.7.14.5.8: D, A, B, C, where D takes the place of C: D0 is loaded from floats[0] and stored to out_floats[0].
    (
        "multiply_F16",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 \
         {D0,D1,D2,D3}, {bits[0],bits[1],bits[2],bits[3]}, {bits[4],bits[5]}, {D0,D1,D2,D3};",
    ),
    (
        "multiply_Bf16",
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \
         {D0,D1,D2,D3}, {bits[0],bits[1],bits[2],bits[3]}, {bits[4],bits[5]}, {D0,D1,D2,D3};",
    ),
    // 9.7.9.21: "For .f16x2 and .bf16x2, input a is converted to the upper half, input b to the lower half of d". The first
    // value of a pair belongs in the lower half: it has the lower address.
    ("pack_F16", "cvt.rn.f16x2.f32 out_bits[0], floats[1], floats[0];"),
    ("pack_Bf16", "cvt.rn.bf16x2.f32 out_bits[0], floats[1], floats[0];"),
    ("unpack_F16", "cvt.f32.f16 out_floats[0], bits[0];"),
    ("power", "ex2.approx.ftz.f32 out_floats[0], floats[0];"),
    // 9.7.14.5.15: r, [p].
    (
        "load",
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {out_bits[0],out_bits[1],out_bits[2],out_bits[3]}, [shared bits];",
    ),
    (
        "load_transposed",
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {out_bits[0],out_bits[1],out_bits[2],out_bits[3]}, [shared bits];",
    ),
    // 9.7.9.25.3: [dst], [src], cp-size, src-size: what is not read becomes zeros.
    ("copy_valid", "cp.async.cg.shared.global [shared out_bits], [bits], 16, 16;"),
    ("copy_nothing", "cp.async.cg.shared.global [shared out_bits], [bits], 16, 0;"),
    ("commit", "cp.async.commit_group;"),
    ("wait_2", "cp.async.wait_group 2;"),
    // A bf16 is the upper half of a single.
    ("unpack_Bf16", "shl.b32 out_floats[0], bits[0], 16;"),
    ("product", "mul.rn.f32 out_floats[0], floats[0], floats[1];"),
    ("sum", "add.rn.f32 out_floats[0], floats[0], floats[1];"),
    ("product_and_sum", "fma.rn.f32 out_floats[0], floats[0], floats[1], floats[2];"),
    ("word", "st.global.u32 [out_bits], bits[3] and out_bits[0];"),
    // 0xff800000.
    ("infinity", "st.global.u32 [out_floats], -8388608 and out_floats[0];"),
];

/// Names of the pointers in `Places`, by their offset.
const POINTERS: [&str; 4] = ["floats", "bits", "out_floats", "out_bits"];

/// The operands of an instruction: `ld.global.f32 %f1, [%rd2+4];` has `%f1` and `%rd2+4`.
fn operands(line: &str) -> Vec<&str> {
    let rest = line.split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
    rest.trim_end_matches([';', ' ', '}']).split(',').map(|operand| operand.trim().trim_matches(['[', ']'])).collect()
}

/// An address as `pointer[index]`, of values of four bytes.
fn place(address: &str, names: &HashMap<String, String>) -> String {
    let (register, offset) = address.split_once('+').unwrap_or((address, "0"));
    let pointer = names.get(register).map_or(register, String::as_str);
    format!("{pointer}[{}]", offset.parse::<usize>().expect("an offset") / 4)
}

/// Where the instruction is that computes: between the marks of inline assembly, or the only one that does not move anything, or the
/// store of what is moved.
fn computing(lines: &[&str]) -> usize {
    if let Some(mark) = lines.iter().position(|line| *line == "// begin inline asm") {
        return mark + 1;
    }
    let has =
        |line: &str, kinds: &[&str]| kinds.contains(&line.split(['.', ' ', '\t', ';']).next().unwrap_or_default());
    let moves =
        |line: &&str| !line.ends_with(';') || line.starts_with('.') || has(line, &["ld", "st", "cvta", "mov", "ret"]);
    let computed: Vec<usize> = (0..lines.len()).filter(|at| !moves(&lines[*at])).collect();
    match computed[..] {
        [at] => at,
        [] => lines.iter().position(|line| has(line, &["st"])).expect("a result"),
        _ => panic!("more than one instruction: {lines:?}"),
    }
}

/// The instruction of a wrapper, with its registers named.
fn instruction(kernel: &str) -> String {
    let mut names: HashMap<String, String> = HashMap::new();
    let lines: Vec<&str> = kernel.lines().map(str::trim).collect();
    let begin = computing(&lines);
    for line in
        lines.iter().enumerate().filter(|(index, line)| *index != begin || line.starts_with("st")).map(|(_, line)| line)
    {
        let found = operands(line);
        let name_of = |register: &str| names.get(register).cloned().unwrap_or_else(|| register.to_owned());
        let named = match line.split(['.', ' ', '\t']).next() {
            Some("ld") if line.starts_with("ld.param") => {
                let offset = found[1].split_once('+').map_or("0", |(_, offset)| offset);
                Some((found[0], POINTERS[offset.parse::<usize>().expect("an offset") / 8].to_owned()))
            }
            Some("ld") => Some((found[0], place(found[1], &names))),
            Some("st") => Some((found[1], place(found[0], &names))),
            Some("cvta") if line.starts_with("cvta.to.shared") => {
                Some((found[0], format!("shared {}", name_of(found[1]))))
            }
            Some("cvta" | "cvt" | "mov") if !line.contains("x2.") => Some((found[0], name_of(found[1]))),
            _ => None,
        };
        let Some((register, name)) = named else { continue };
        let name = match names.get(register) {
            // What is both loaded and stored is a sum.
            Some(loaded) => match (loaded.strip_prefix("floats["), name.strip_prefix("out_floats[")) {
                (Some(from), Some(to)) if from == to => format!("D{}", to.trim_end_matches(']')),
                _ => format!("{loaded} and {name}"),
            },
            None => name,
        };
        names.insert(register.to_owned(), name);
    }
    let mut text = lines[begin].replace(" \t", " ");
    let mut registers: Vec<(&String, &String)> = names.iter().collect();
    // %r12 before %r1.
    registers.sort_by_key(|(register, _)| std::cmp::Reverse(register.len()));
    for (register, name) in registers {
        text = text.replace(register.as_str(), name);
    }
    text
}

#[test]
fn every_wrapper_is_the_instruction_that_the_manual_describes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ptx = temporary("ptx");
    let output = tool("nvcc")
        .args(["-arch=compute_80", "-O3", "-std=c++17", "-ptx", "-I"])
        .arg(folder.join("cuda"))
        .arg("-o")
        .arg(&ptx)
        .arg(folder.join("tests/cuda/wrappers/wrappers.cu"))
        .output()
        .expect("nvcc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&ptx).expect("PTX");
    for (kernel, wanted) in INSTRUCTIONS {
        let body = text.split(&format!(".entry {kernel}(")).nth(1).unwrap_or_else(|| panic!("no {kernel}"));
        let body = body.split("\n}").next().expect("a body");
        assert_eq!(instruction(body), wanted, "{kernel}:\n{body}");
    }
}
