//! Why a setting is refused.

/// Why a setting is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A cluster setting that does not read as what it should be.
    Unparsable,
    /// An annotation that does not read as what it should be, or is none of the allowed words.
    Invalid,
    /// Must be above 0.
    NotPositive,
    /// Must not be below 0.
    Negative,
    /// Must be 0 or more, or exactly −1.
    NeitherNonnegativeNorMinusOne,
    /// A cluster setting outside its range.
    OutOfRange,
    /// An annotation outside its range.
    OutOfBounds,
    /// Below the least allowed.
    TooSmall,
    /// A duration with a fraction of a second.
    NotWholeSeconds,
    /// The target of a replica would come out below 0.01.
    ProductTooSmall,
    /// The cluster's minimum is above its maximum.
    MinAboveMax,
    /// The cluster does not allow an initial scale of 0.
    ZeroNotAllowed,
    /// The annotated maximum is below the annotated minimum.
    MaxBelowMin,
    /// The cluster has a limit, so "no maximum" is not allowed.
    UnlimitedNotAllowed,
    /// The activation scale is below the minimum.
    ActivationBelowMin,
    /// The activation scale is above the maximum.
    ActivationAboveMax,
}

impl Reason {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Unparsable => "unparsable",
            Reason::Invalid => "invalid",
            Reason::NotPositive => "not_positive",
            Reason::Negative => "negative",
            Reason::NeitherNonnegativeNorMinusOne => "neither_nonnegative_nor_minus_one",
            Reason::OutOfRange => "out_of_range",
            Reason::OutOfBounds => "out_of_bounds",
            Reason::TooSmall => "too_small",
            Reason::NotWholeSeconds => "not_whole_seconds",
            Reason::ProductTooSmall => "product_too_small",
            Reason::MinAboveMax => "min_above_max",
            Reason::ZeroNotAllowed => "zero_not_allowed",
            Reason::MaxBelowMin => "max_below_min",
            Reason::UnlimitedNotAllowed => "unlimited_not_allowed",
            Reason::ActivationBelowMin => "activation_below_min",
            Reason::ActivationAboveMax => "activation_above_max",
        }
    }
}
