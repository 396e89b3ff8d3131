internal import Base
internal import HTTP

/// `{"alias": "live", "version": 3, "provisioned": 2}`: what a promotion or a rollback is asked for.
struct MoveOrder {
    var alias = "live"
    var version: Int?
    /// nil: as it is.
    var provisioned: Int?

    init(_ body: UnsafeRawBufferPointer) {
        guard JSONCheck.validate(body) == nil else { return }
        JSONText.forEachMember(of: body) { name, value in
            switch String(decoding: name, as: UTF8.self) {
            case "alias":
                let text = ByteBuffer(capacity: 16)
                JSONText.appendDecoded(value, to: text)
                if JSONText.kind(of: value) == .string { alias = text.string }
            case "version": version = Int(String(decoding: value, as: UTF8.self))
            case "provisioned":
                provisioned = Int(String(decoding: value, as: UTF8.self)).map { min(max(0, $0), 1000) }
            default: break
            }
        }
    }
}
