internal import Crypto
internal import Foundation

/// An access key and its secret.
package struct AccessKey: Sendable {
    package let id: String
    package let secret: String

    package init(id: String, secret: String) {
        self.id = id
        self.secret = secret
    }

    static let secretLength = 40

    /// - Parameter bytes: 46 random ones.
    package init(prefix: String = "AKIA", bytes: [UInt8]) {
        id = prefix + Self.letters(bytes.prefix(16))
        secret = String(Data(bytes.dropFirst(16).prefix(30)).base64EncodedString().prefix(Self.secretLength))
    }

    package static let bytesNeeded = 46

    /// Five bits a letter, as AWS's identifiers are.
    static func letters(_ bytes: some Sequence<UInt8>) -> String {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
        return String(bytes.map { letters[Int($0 & 31)] })
    }
}

/// A key that is good until a time, made of a key that lasts: its token says of which and until when, and all three parts follow from
/// that with a secret of the node's. Nothing is stored, so nothing is looked up either; it ends with the key that it was made of.
///
///     token    base64 of: expiry (8 bytes, seconds, big-endian)  noise (8)  id of the key  HMAC of all that (32)
///     id       ASIA + 16 letters of an HMAC of the token         secret    base64 of another, 40 characters
package struct TemporaryKey: Sendable {
    package let key: AccessKey
    package let token: String
    /// Seconds since 1970; from then on it is refused.
    package let expiry: UInt64
    /// Of the key that it was made of.
    package let parent: String

    private static let tagBytes = 32
    private static let headBytes = 16
    private static let tokenBytesMax = 1024

    /// - Parameter noise: eight random bytes.
    package init(of parent: String, until expiry: UInt64, noise: [UInt8], node secret: [UInt8]) {
        let payload = withUnsafeBytes(of: expiry.bigEndian) { Array($0) } + noise + Array(parent.utf8)
        self.init(parent, expiry, payload, Self.hmac(secret, "token", payload), secret)
    }

    private init(_ parent: String, _ expiry: UInt64, _ payload: [UInt8], _ tag: [UInt8], _ secret: [UInt8]) {
        self.parent = parent
        self.expiry = expiry
        token = Data(payload + tag).base64EncodedString()
        key = AccessKey(
            id: "ASIA" + AccessKey.letters(Self.hmac(secret, "id", payload).prefix(16)),
            secret: String(Data(Self.hmac(secret, "secret", payload)).base64EncodedString().prefix(AccessKey.secretLength)))
    }

    /// A token that has come back; nil: this node has not made it, or not for this id.
    init?(id: String, token: String, node secret: [UInt8]) {
        guard token.utf8.count <= Self.tokenBytesMax, let data = Data(base64Encoded: token) else { return nil }
        let bytes = Array(data)
        guard bytes.count > Self.headBytes + Self.tagBytes else { return nil }
        let payload = Array(bytes.dropLast(Self.tagBytes))
        let tag = Self.hmac(secret, "token", payload)
        guard equalsInConstantTime(tag, Array(bytes.suffix(Self.tagBytes))) else { return nil }
        let expiry = payload.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        self.init(String(decoding: payload.dropFirst(Self.headBytes), as: UTF8.self), expiry, payload, tag, secret)
        guard key.id == id else { return nil }
    }

    private static func hmac(_ secret: [UInt8], _ purpose: StaticString, _ payload: [UInt8]) -> [UInt8] {
        let message = Array("\(purpose)\n".utf8) + payload
        return message.withUnsafeBytes { hmacSHA256(key: secret, $0) }
    }
}
