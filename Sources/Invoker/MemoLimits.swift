package import Base

extension Limits {
    /// The longest that a function's error may be kept.
    package static let memoErrorsMax = Span.seconds(3600)
    /// The longest lifetime of a result: a year, as CloudFront's default maximum.
    package static let memoSecondsMax: UInt64 = 31_536_000
    /// Tags that one answer may name, beside Hearth's own.
    package static let memoTagsMax = 60
    /// Results whose run took at least this many milliseconds are worth the disk: all, as a run costs more than a read.
    static let memoDiskWeightMin: Float = 1
}
