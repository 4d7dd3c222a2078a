//! What norms leave in 16 bits for the product after them.

use prelim_kernels::{AddRmsNorm, AddRows, Backend, Cuda, LayerNorm, Linear, Precision, RmsNorm, Rows, Storage, Then};

use crate::cases::{Numbers, Weight, check_bits};
use crate::stand_in::StandIn;

type Buffer = <Cuda as Backend>::Buffer;

/// Rows of every norm: of some rows, after an addition, of a layer.
fn norms(cuda: &Cuda, numbers: &mut Numbers, rows: usize, width: usize, scale: f32) -> Vec<Buffer> {
    let mut vector = |len: usize, scale: f32| cuda.upload(&numbers.vector(len, scale)).expect("room");
    let (x, branch, mut residual) =
        (vector(rows * width, scale), vector(rows * width, 1.0), vector(rows * width, scale));
    let (weight, bias) = (vector(width, 0.5), vector(width, 0.5));
    let [mut some, mut next, mut last] = [(); 3].map(|()| cuda.buffer(rows * width));
    let order: Vec<u32> = (0..rows as u32).rev().collect();
    let eps = 1e-6;
    // Weights that are large make results beyond the range of f16.
    let large = vector(width, scale.max(1.0));
    cuda.rms_norm(RmsNorm { x: &x, rows: Rows::At(&order), weight: &large, offset: 1.0, width, eps, out: &mut some });
    let (post, residual, next_too) = (&bias, &mut residual, Some((&weight, &mut next)));
    cuda.add_rms_norm(AddRmsNorm { branch: &branch, post, residual, next: next_too, rows, width, eps });
    cuda.layer_norm(LayerNorm { x: &x, weight: &large, bias: &bias, rows, width, eps, out: &mut last });
    vec![some, next, last]
}

#[test]
fn a_product_of_a_norm_has_the_bits_of_the_product_of_its_rows() {
    let (_turn, stand_in) = StandIn::turn();
    for precision in [Precision::F16, Precision::Bf16] {
        let cuda = Cuda::open(0, precision).expect("the stand-in");
        for (rows, width, scale) in [(1, 1, 1.0), (3, 24, 3e5), (20, 300, 1e-3), (2, 1152, 3e5)] {
            let outputs = 40;
            let mut numbers = Numbers::new(21);
            let weight = Weight::new(&mut numbers, outputs, width);
            let weight = cuda.matrix(&[weight.view()], Storage::F32).expect("room");
            // The bits of a product, and how many kernels it took.
            let product = |x: &Buffer, rows: usize| {
                let mut out = cuda.buffer(rows * outputs);
                let before = stand_in.counts().launches;
                let then = Then::Store;
                cuda.linear(Linear { x, rows, weight: &weight, bias: None, then, out: &mut out });
                (cuda.download(&out, rows * outputs), stand_in.counts().launches - before)
            };
            let fresh = |x: &Buffer| cuda.upload(&cuda.download(x, rows * width)).expect("room");
            for (index, mut normed) in norms(&cuda, &mut numbers, rows, width, scale).into_iter().enumerate() {
                let what = format!("norm {index} of {rows} x {width}, values to {scale:e}, in {precision:?}");
                let ((found, launches), (wanted, with_packing)) =
                    (product(&normed, rows), product(&fresh(&normed), rows));
                check_bits(&what, &found, &wanted);
                assert_eq!(with_packing, if launches == 0 { 0 } else { launches + 1 }, "{what}: a kernel less");
                // Fewer rows of it are the same rows.
                check_bits(&what, &product(&normed, 1).0, &wanted[..outputs]);
                // What is changed afterwards is packed anew.
                let more = cuda.upload(&numbers.vector(rows * width, 7.0 * scale.max(1.0))).expect("room");
                cuda.add_rows(AddRows { x: &more, scale: None, rows, width, out: &mut normed });
                let (changed, changed_wanted) = (product(&normed, rows).0, product(&fresh(&normed), rows).0);
                check_bits(&format!("{what}, with something added"), &changed, &changed_wanted);
                assert_ne!(changed, found, "{what}: something was added");
            }
        }
    }
}
