//! What backends that compute on the host share: the plan of a batch.

use std::ops::Range;

use crate::args::Span;

/// A batch, row by row.
#[derive(Debug, Clone)]
pub struct HostPlan {
    /// The sequences.
    pub spans: Vec<HostSpan>,
    /// All rows.
    pub tokens: usize,
    /// Tokens in a cache block.
    pub block_tokens: usize,
}

/// New tokens of one sequence.
#[derive(Debug, Clone)]
pub struct HostSpan {
    /// First row in the batch.
    pub row: usize,
    /// Position of the first new token.
    pub start: usize,
    /// New tokens.
    pub tokens: usize,
    /// Cache blocks of the sequence.
    pub blocks: Vec<u32>,
    /// For every new token the first position after its image, or 0 outside an image.
    pub image_end: Vec<usize>,
}

impl HostPlan {
    /// Lays spans out in rows.
    ///
    /// # Panics
    /// When a block table is too short, or an image reaches beyond its span: a prefill chunk may not cut an image.
    pub fn new(spans: &[Span<'_>], block_tokens: usize) -> Self {
        let mut row = 0;
        let spans: Vec<HostSpan> = spans
            .iter()
            .map(|span| {
                let end = span.start + span.tokens;
                assert!(span.blocks.len() * block_tokens >= end, "block table too short for {end} positions");
                let mut image_end = vec![0; span.tokens];
                for image in &span.images {
                    assert!(span.start <= image.start && image.end <= end, "image {image:?} is cut by a chunk");
                    image_end[image.start - span.start..image.end - span.start].fill(image.end);
                }
                let laid =
                    HostSpan { row, start: span.start, tokens: span.tokens, blocks: span.blocks.to_vec(), image_end };
                row += span.tokens;
                laid
            })
            .collect();
        Self { spans, tokens: row, block_tokens }
    }

    /// The position of every row.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.spans.iter().flat_map(|span| span.start..span.start + span.tokens)
    }
}

impl HostSpan {
    /// The positions that new token `index` sees.
    pub fn visible(&self, index: usize, window: Option<usize>) -> Range<usize> {
        let position = self.start + index;
        let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
        first..(position + 1).max(self.image_end[index])
    }

    /// The block of the cache that holds a position, and the place in it.
    pub fn slot(&self, position: usize, block_tokens: usize) -> (usize, usize) {
        (self.blocks[position / block_tokens] as usize, position % block_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten tokens from position 5 on, with an image at 7..12.
    #[allow(clippy::single_range_in_vec_init, reason = "one image is a list of one range")]
    fn span() -> HostSpan {
        let span = Span { start: 5, tokens: 10, blocks: &[3], images: vec![7..12] };
        HostPlan::new(&[span], 16).spans.remove(0)
    }

    #[test]
    fn a_token_sees_what_came_before_and_the_whole_of_its_image() {
        let table = [
            // (new token, window, positions it sees)
            (0, None, 0..6),
            (2, None, 0..12),
            (6, None, 0..12),
            (7, None, 0..13),
            (0, Some(4), 2..6),
            // The window cuts an image's tokens off on the left, and never on the right: windows and images are joined by AND.
            (2, Some(1), 7..12),
            (6, Some(3), 9..12),
            (9, Some(1), 14..15),
            (9, Some(100), 0..15),
        ];
        for (token, window, wanted) in table {
            assert_eq!(span().visible(token, window), wanted, "token {token}, window {window:?}");
        }
    }

    #[test]
    #[should_panic(expected = "image 7..12 is cut by a chunk")]
    #[allow(clippy::single_range_in_vec_init, reason = "one image is a list of one range")]
    fn a_chunk_that_cuts_an_image_is_refused() {
        HostPlan::new(&[Span { start: 5, tokens: 4, blocks: &[3], images: vec![7..12] }], 16);
    }

    #[test]
    #[should_panic(expected = "block table too short for 33 positions")]
    fn a_block_table_that_is_too_short_is_refused() {
        HostPlan::new(&[Span { start: 30, tokens: 3, blocks: &[0, 1], images: vec![] }], 16);
    }
}
