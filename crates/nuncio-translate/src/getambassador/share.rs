//! Weights: how the members of a group share its requests or connections.

use nuncio_model::{Origin, Reason};

use super::Context;

/// A member's part of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Index of the member.
    pub(super) member: usize,
    pub(super) percent: u32,
    /// Its share and those before it: what Envoy draws one random number against.
    pub(super) cumulative: u32,
}

/// Gives every member its share, and leaves out those whose weight does not fit. `weight_of` says
/// the weight of a member, and where it stands.
pub(super) fn shares<M>(
    context: &mut Context<'_>,
    members: &mut Vec<M>,
    weight_of: impl Fn(&M) -> (Option<i64>, Origin),
) -> Vec<Share> {
    // Emissary stops at the first weight that does not fit, so that all others get nothing. Here
    // that member alone is left out.
    let mut sum = 0i64;
    members.retain(|member| {
        let (weight, at) = weight_of(member);
        let Some(weight) = weight else { return true };
        let (kind, name) = (&at.resource.kind, &at.resource.name);
        let message = if weight > 100 {
            format!("{kind} {name} has invalid weight {weight}")
        } else if sum + weight > 100 {
            format!(
                "Total weight of mappings exceeds 100: {name} wants {weight}, and {sum} are \
                 taken by {kind}s with the same criteria"
            )
        } else {
            sum += weight;
            return true;
        };
        let help =
            format!("write shares in percent, together at most 100; this {kind} is left out");
        context
            .report
            .error(&at, Reason::InvalidValue, message)
            .help(help);
        false
    });
    let weights: Vec<Option<u32>> = members
        .iter()
        .map(|member| {
            weight_of(member)
                .0
                .and_then(|weight| u32::try_from(weight).ok())
        })
        .collect();
    normalise(&weights)
}

/// Emissary's normalisation. A lone member has everything. Weighted ones come first, in order;
/// those without a weight share the rest evenly, rounded to even, the last taking what is left.
/// Without any of those the rest of the requests goes on to later routes.
fn normalise(weights: &[Option<u32>]) -> Vec<Share> {
    if weights.len() == 1 {
        return vec![Share {
            member: 0,
            percent: 100,
            cumulative: 100,
        }];
    }
    let mut shares = Vec::new();
    let mut cumulative = 0;
    let mut push = |member, cumulative: &mut u32, to: u32| {
        shares.push(Share {
            member,
            percent: to - *cumulative,
            cumulative: to,
        });
        *cumulative = to;
    };
    for (member, weight) in weights.iter().enumerate() {
        if let Some(weight) = weight {
            let to = cumulative + weight;
            push(member, &mut cumulative, to);
        }
    }
    let unweighted: Vec<usize> = (0..weights.len())
        .filter(|member| weights[*member].is_none())
        .collect();
    if let Some((last, others)) = unweighted.split_last() {
        let each = divide_to_even(100 - cumulative, unweighted.len());
        for member in others {
            let to = (cumulative + each).min(100);
            push(*member, &mut cumulative, to);
        }
        push(*last, &mut cumulative, 100);
    }
    shares
}

/// Rounded to the nearest, halves to even, as Python does.
fn divide_to_even(total: u32, parts: usize) -> u32 {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    let (quotient, remainder) = (total / parts, total % parts);
    match (remainder * 2).cmp(&parts) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient % 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cumulative(weights: &[Option<u32>]) -> Vec<(usize, u32)> {
        normalise(weights)
            .iter()
            .map(|share| (share.member, share.cumulative))
            .collect()
    }

    #[test]
    fn the_examples() {
        assert_eq!(cumulative(&[Some(0)]), [(0, 100)]);
        assert_eq!(cumulative(&[Some(10), Some(20)]), [(0, 10), (1, 30)]);
        assert_eq!(cumulative(&[None, Some(10)]), [(1, 10), (0, 100)]);
        assert_eq!(
            cumulative(&[None, None, None]),
            [(0, 33), (1, 66), (2, 100)]
        );
        assert_eq!(cumulative(&[Some(100), None]), [(0, 100), (1, 100)]);
        // (100 - 25) / 6 = 12.5 is 12, rounded to even.
        assert_eq!(
            cumulative(&[Some(25), None, None, None, None, None, None])[1..4],
            [(1, 37), (2, 49), (3, 61)]
        );
    }

    proptest! {
        /// Envoy draws one number a request and takes the first route that it is below.
        #[test]
        fn each_member_gets_the_specified_share(
            weights in prop::collection::vec(prop::option::of(0u32..=60), 2..8)
        ) {
            let sum: u32 = weights.iter().flatten().sum();
            prop_assume!(sum <= 100);
            let shares = normalise(&weights);
            let mut drawn = vec![0u32; weights.len()];
            for number in 0..100 {
                if let Some(share) = shares.iter().find(|share| number < share.cumulative) {
                    drawn[share.member] += 1;
                }
            }
            let open = weights.iter().filter(|weight| weight.is_none()).count();
            for (member, weight) in weights.iter().enumerate() {
                if let Some(weight) = weight {
                    prop_assert_eq!(drawn[member], *weight);
                }
                prop_assert_eq!(
                    drawn[member],
                    shares.iter().find(|s| s.member == member).unwrap().percent
                );
            }
            let total: u32 = drawn.iter().sum();
            prop_assert_eq!(total, if open == 0 { sum } else { 100 });
            if open > 0 {
                let each = f64::from(100 - sum) / open as f64;
                let rounded = {
                    let floor = each.floor();
                    let fraction = each - floor;
                    let up = fraction > 0.5 || (fraction == 0.5 && floor % 2.0 == 1.0);
                    floor + f64::from(u8::from(up))
                } as u32;
                let unweighted: Vec<_> =
                    (0..weights.len()).filter(|m| weights[*m].is_none()).collect();
                let mut left = 100 - sum;
                for (i, member) in unweighted.iter().enumerate() {
                    let expected =
                        if i + 1 == unweighted.len() { left } else { rounded.min(left) };
                    prop_assert_eq!(drawn[*member], expected);
                    left -= expected;
                }
            }
        }
    }
}
