//! Answers that are a JSON array, encoded piece by piece as the client takes them.
//!
//! Owns the pieces. It must not know what the items are. The lane's thread counts
//! the bytes, the thread of the client's connection encodes them.

use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::message::Response;
use super::stream::{Next, Source};
use crate::budget::Hold;

/// Up to here an array is one piece.
const WHOLE_BYTES: usize = 64 * 1024;
/// A piece ends with the item that passes this.
const PIECE_BYTES: usize = 256 * 1024;

/// What is left of an array.
struct Array<T> {
    items: Arc<Vec<T>>,
    /// The item to encode next, up to the end; `None` after the closing bracket.
    left: Option<Range<usize>>,
    /// What stands before the next item: the opening bracket, then a comma.
    before: char,
    encode: fn(&T) -> String,
}

impl Response {
    /// What a piece of an array takes, besides its last item.
    pub const PIECE_BYTES: usize = PIECE_BYTES;

    /// An answer of status 200 that is the JSON array of those `shown` of `items`,
    /// with its length. However large it is, no more than a piece of it is in
    /// memory besides the items, for which the caller holds `hold`; the piece is
    /// added, even beyond the budget. It is given back when the client has taken the answer, or is gone.
    pub fn array<T: Send + Sync + 'static>(
        items: Arc<Vec<T>>,
        shown: Range<usize>,
        encode: fn(&T) -> String,
        mut hold: Hold,
    ) -> Response {
        let lengths = items[shown.clone()].iter().map(|item| encode(item).len());
        let (sum, longest) = lengths.fold((0, 0), |(sum, longest), length| {
            (sum + length, longest.max(length))
        });
        let length = 2 + shown.len().saturating_sub(1) + sum;
        hold.force(hold.bytes() + PIECE_BYTES + longest);
        let mut array = Array {
            items,
            left: Some(shown),
            before: '[',
            encode,
        };
        if length <= WHOLE_BYTES {
            let pieces = iter::from_fn(|| array.piece());
            return Response::json(200, pieces.collect::<String>());
        }
        Response {
            stream: Some(Box::new(array)),
            length: Some(length),
            hold: Some(hold),
            ..Response::json(200, "")
        }
    }
}

impl<T> Array<T> {
    fn piece(&mut self) -> Option<String> {
        let left = self.left.as_mut()?;
        let mut piece = String::with_capacity(PIECE_BYTES);
        while piece.len() < PIECE_BYTES {
            let Some(next) = left.next() else {
                piece += if self.before == '[' { "[]" } else { "]" };
                self.left = None;
                break;
            };
            piece.push(std::mem::replace(&mut self.before, ','));
            piece += &(self.encode)(&self.items[next]);
        }
        Some(piece)
    }
}

impl<T: Send + Sync> Source for Array<T> {
    fn next(&mut self, _: Duration) -> Next {
        let piece = self.piece().map(String::into_bytes);
        piece.map_or(Next::End, Next::Chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    fn array(count: usize, shown: Range<usize>) -> (Option<usize>, Vec<Vec<u8>>) {
        let items: Arc<Vec<usize>> = Arc::new((0..count).collect());
        let hold = Budget::default().hold();
        let response = Response::array(items, shown, |n| format!("{n:06}"), hold);
        let mut pieces = vec![response.body];
        let mut stream = response.stream;
        while let Some(Next::Chunk(piece)) = stream.as_mut().map(|s| s.next(Duration::ZERO)) {
            pieces.push(piece);
        }
        pieces.retain(|piece| !piece.is_empty());
        (response.length, pieces)
    }

    #[test]
    fn small_arrays_are_whole_and_large_ones_come_in_pieces_of_the_length_that_was_said() {
        for (shown, text) in [(0..0, "[]"), (1..2, "[000001]"), (1..3, "[000001,000002]")] {
            assert_eq!(array(3, shown), (None, vec![text.into()]));
        }
        let (length, pieces) = array(200_000, 7..100_007);
        let all = pieces.concat();
        assert_eq!(length, Some(all.len()));
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 8));
        let expected: Vec<_> = (7..100_007).map(|n| format!("{n:06}")).collect();
        assert_eq!(all, format!("[{}]", expected.join(",")).into_bytes());
    }
}
