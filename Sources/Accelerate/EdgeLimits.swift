package import Base

extension Limits {
    /// A PUT up to this goes to the origin as one: more requests would cost more than they save.
    package static let edgeSingleBytesMax = 8 << 20
    /// Other bodies up to this are taken whole before they are sent.
    package static let edgeWholeBytesMax = 16 << 20
    /// Parts of a relayed upload: S3's least, so that many are on their way.
    package static let edgePartBytes = 5 << 20
    package static let edgePartsAtOnce = 16
    /// Connections that are open before they are needed.
    package static let edgeWarmConnections = 16
    /// A larger object is passed on and not kept.
    package static let edgeCachedBytesMax = 8 << 20
    /// Of a streamed body, on its way to the origin's connection.
    package static let edgeStreamBytesMax = 1 << 20
    package static let edgePartAttemptsMax = 4
}
