internal import HTTP

/// `{"alias": "live", "version": 3, "provisioned": 2}`: what a promotion or a rollback is asked for.
struct MoveOrder {
    var alias = "live"
    var version: Int?
    /// nil: as it is.
    var provisioned: Int?

    init(_ body: UnsafeRawBufferPointer) {
        guard JSONCheck.validate(body) == nil else { return }
        guard let members = JSONMembers(body) else { return }
        for member in members {
            let value = member.value.range.slice(body)
            switch member.name.string(body) {
            case "alias" where member.value.kind == .string:
                alias = JSONText.decode(value).map { String(decoding: $0, as: UTF8.self) } ?? alias
            case "version": version = JSONText.integer(value)
            case "provisioned": provisioned = JSONText.integer(value).map { min(max(0, $0), 1000) }
            default: break
            }
        }
    }
}
