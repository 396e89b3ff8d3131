internal import Objects
internal import XML

/// An access control list: who owns something, and what it grants to whom (Amazon S3 User Guide, "Access control list (ACL) overview").
struct ACL: Hashable, Sendable {
    enum Permission: String, Sendable {
        case read = "READ"
        case write = "WRITE"
        case readACP = "READ_ACP"
        case writeACP = "WRITE_ACP"
        case fullControl = "FULL_CONTROL"
    }
    enum Grantee: Hashable, Sendable {
        case user(String)
        case group(String)

        static let allUsers = Grantee.group("http://acs.amazonaws.com/groups/global/AllUsers")
        static let authenticatedUsers = Grantee.group("http://acs.amazonaws.com/groups/global/AuthenticatedUsers")
        static let logDelivery = Grantee.group("http://acs.amazonaws.com/groups/s3/LogDelivery")
        static let groups: Set<Grantee> = [allUsers, authenticatedUsers, logDelivery]
    }
    struct Grant: Hashable, Sendable {
        let grantee: Grantee
        let permission: Permission

        var isGroup: Bool { if case .group = grantee { true } else { false } }
    }

    var owner: String
    var grants: [Grant]

    static func privateTo(_ owner: String) -> ACL {
        ACL(owner: owner, grants: [Grant(grantee: .user(owner), permission: .fullControl)])
    }

    /// The list that a canned name stands for; nil for an unknown name.
    init?(canned name: String, owner: String, bucketOwner: String) {
        self = .privateTo(owner)
        // Groups come first, as S3's own lists have them.
        defer { grants = Array(grants.dropFirst().filter(\.isGroup) + grants.prefix(1) + grants.dropFirst().filter { !$0.isGroup }) }
        switch name {
        case "private": break
        case "public-read": grants.append(Grant(grantee: .allUsers, permission: .read))
        case "public-read-write":
            grants.append(Grant(grantee: .allUsers, permission: .read))
            grants.append(Grant(grantee: .allUsers, permission: .write))
        case "authenticated-read": grants.append(Grant(grantee: .authenticatedUsers, permission: .read))
        case "bucket-owner-read":
            if bucketOwner != owner { grants.append(Grant(grantee: .user(bucketOwner), permission: .read)) }
        case "bucket-owner-full-control":
            if bucketOwner != owner { grants.append(Grant(grantee: .user(bucketOwner), permission: .fullControl)) }
        case "log-delivery-write":
            grants.append(Grant(grantee: .logDelivery, permission: .write))
            grants.append(Grant(grantee: .logDelivery, permission: .readACP))
        case "aws-exec-read": break
        default: return nil
        }
    }

    init(owner: String, grants: [Grant]) {
        self.owner = owner
        self.grants = grants
    }

    /// Of a request: `x-amz-acl` or `x-amz-grant-…`, not both; nil: neither.
    init?(headers: S3Request, owner: String, bucketOwner: String, accounts: S3Accounts) throws(S3Fault) {
        var grants: [Grant] = []
        for (name, permission) in [
            ("x-amz-grant-read", Permission.read), ("x-amz-grant-write", .write), ("x-amz-grant-read-acp", .readACP),
            ("x-amz-grant-write-acp", .writeACP), ("x-amz-grant-full-control", .fullControl),
        ] {
            guard let value = headers.header(name) else { continue }
            for part in value.split(separator: ",") {
                grants.append(Grant(grantee: try Self.grantee(String(part), accounts), permission: permission))
            }
        }
        if let canned = headers.header("x-amz-acl") {
            guard grants.isEmpty else { throw .invalidRequest("Specifying both Canned ACLs and Header Grants is not allowed") }
            guard let list = ACL(canned: canned, owner: owner, bucketOwner: bucketOwner) else {
                throw .invalidArgument("The x-amz-acl value is not a canned ACL", name: "x-amz-acl", value: canned)
            }
            self = list
            return
        }
        guard !grants.isEmpty else { return nil }
        self.init(owner: owner, grants: grants)
    }

    /// `id="…"`, `uri="…"`; addresses of people are known to no account here.
    private static func grantee(_ text: String, _ accounts: S3Accounts) throws(S3Fault) -> Grantee {
        let parts = text.split(separator: "=", maxSplits: 1).map { $0.filter { $0 != " " && $0 != "\"" } }
        guard parts.count == 2 else { throw .invalidArgument("Argument format not recognized") }
        switch parts[0] {
        case "id":
            guard accounts.named(parts[1]) != nil else { throw .invalidArgument("Invalid id", name: "x-amz-grant", value: parts[1]) }
            return .user(parts[1])
        case "uri":
            guard Grantee.groups.contains(.group(parts[1])) else { throw .invalidArgument("Invalid group uri", name: "uri", value: parts[1]) }
            return .group(parts[1])
        default: throw S3Fault(400, "UnresolvableGrantByEmailAddress", "The email address you provided does not match any account on record.")
        }
    }

    /// Of a document `AccessControlPolicy`.
    init(document bytes: [UInt8], accounts: S3Accounts?) throws(S3Fault) {
        guard let root = try? XMLReader.read(bytes), root.name == "AccessControlPolicy", let owner = root.first("Owner")?.text("ID"),
            let list = root.first("AccessControlList")
        else { throw .malformedACL }
        var grants: [Grant] = []
        for item in list.children {
            guard item.name == "Grant", let grantee = item.first("Grantee"), let word = item.text("Permission"),
                let permission = Permission(rawValue: word)
            else { throw .malformedACL }
            if let uri = grantee.text("URI") {
                guard Grantee.groups.contains(.group(uri)) else { throw .invalidArgument("Invalid group uri", name: "uri", value: uri) }
                grants.append(Grant(grantee: .group(uri), permission: permission))
            } else if let id = grantee.text("ID") {
                guard accounts.map({ $0.named(id) != nil }) ?? true else {
                    throw .invalidArgument("Invalid id", name: "CanonicalUser/ID", value: id)
                }
                grants.append(Grant(grantee: .user(id), permission: permission))
            } else if grantee.first("EmailAddress") != nil {
                throw S3Fault(
                    400, "UnresolvableGrantByEmailAddress", "The email address you provided does not match any account on record.")
            } else {
                throw .malformedACL
            }
        }
        guard grants.count <= 100 else { throw .invalidRequest("An access control list has at most 100 grants") }
        self.init(owner: owner, grants: grants)
    }

    func document(_ accounts: S3Accounts) -> [UInt8] {
        XMLWriter.document("AccessControlPolicy") { xml in
            xml.element("Owner") { accounts.write(owner, to: $0) }
            xml.element("AccessControlList") { xml in
                for grant in grants {
                    xml.element("Grant") { xml in
                        switch grant.grantee {
                        case .user(let id):
                            let type: StaticString =
                                " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\""
                            xml.element("Grantee", attributes: type) { accounts.write(id, to: $0) }
                        case .group(let uri):
                            let type: StaticString = " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\""
                            xml.element("Grantee", attributes: type) { $0.element("URI", uri) }
                        }
                        xml.element("Permission", grant.permission.rawValue)
                    }
                }
            }
        }
    }

    /// Something is granted to everybody, or to every account.
    var isPublic: Bool { grants.contains { $0.grantee == .allUsers || $0.grantee == .authenticatedUsers } }

    func allows(_ permission: Permission, to account: S3Account?, ignoresPublic: Bool) -> Bool {
        if let account, account.id == owner, permission == .readACP || permission == .writeACP { return true }
        return grants.contains { grant in
            guard grant.permission == permission || grant.permission == .fullControl else { return false }
            switch grant.grantee {
            case .user(let id): return id == account?.id
            case .allUsers: return !ignoresPublic
            case .authenticatedUsers: return !ignoresPublic && account != nil
            default: return false
            }
        }
    }
}

/// The accounts of this runtime.
package struct S3Accounts: Sendable {
    let all: [S3Account]

    package init(_ all: [S3Account]) { self.all = all }

    func named(_ id: String) -> S3Account? { all.first { $0.id == id } }

    /// `ID` and `DisplayName`.
    func write(_ id: String, to xml: XMLWriter) {
        xml.element("ID", id)
        xml.optional("DisplayName", named(id)?.name)
    }
}
