internal import Crypto

/// The access keys of a node as its listeners look them up: nothing but memory.
///
///     catalogue ──adopt──▶ users        made, switched off and removed by `hearth keys`
///     versions ──grant──▶ functions     made when a version is first started, gone with its last worker
///     token                             temporary keys, which are computed (`TemporaryKey`)
///     roots                             of the node's own account, and of a second one for S3
///
/// Invariants:
///  1. A key that is found belongs to somebody who exists and is not switched off; a temporary one has not expired.
///  2. A key with a token is not found without it, a key without one not with any.
///  3. What a caller may do is fixed when its key is taken over: a change of a policy makes a new `Caller`.
///
/// Thread rule: the loop's thread.
package final class Keyring {
    /// Why a key is not accepted.
    package enum Fault: Error, Sendable { case unknown, badToken, expired }

    /// A key of `hearth keys`, read from the catalogue.
    package struct User: Sendable {
        package let key: AccessKey
        package let name: String
        package let policies: [Policy]

        package init(key: AccessKey, name: String, policies: [Policy]) {
            self.key = key
            self.name = name
            self.policies = policies
        }
    }

    /// What the workers of a version sign with.
    package struct FunctionKey: Sendable {
        package let key: AccessKey
        package let token: String
    }

    private struct Entry {
        let secret: String
        let caller: Caller
        var token: String?
    }

    /// The node's own.
    package let account: String
    private var roots: [String: Entry] = [:]
    private var users: [String: Entry] = [:]
    private var functions: [String: Entry] = [:]
    /// Signs the tokens of temporary keys; survives a restart, as they do.
    private let tokenSecret: [UInt8]

    /// - Parameter root: of the node's account, whose owner may do everything.
    package init(account: String, root: AccessKey) {
        self.account = account
        tokenSecret = hmacSHA256(key: Array(root.secret.utf8), "tokens of temporary access keys")
        add(root: root, account: account, name: "root")
    }

    /// A second account, of S3 only.
    package func add(root: AccessKey, account: String, name: String) {
        roots[root.id] = Entry(secret: root.secret, caller: .root(account: account, name: name))
    }

    /// Takes over the catalogue's keys, without those that are switched off.
    package func adopt(_ keys: [User]) {
        users = Dictionary(
            keys.map { ($0.key.id, Entry(secret: $0.key.secret, caller: .user($0.name, account: account, policies: $0.policies))) },
            uniquingKeysWith: { first, _ in first })
    }

    /// Makes the key of a version's workers. It is good until `revoke`: a worker may live for weeks, and so may clients in it that have
    /// read their key once.
    ///
    /// - Parameters:
    ///   - role: ARN of the function's role.
    ///   - random: 78 bytes.
    package func grant(_ function: String, role: String, policies: [Policy], random: [UInt8]) -> FunctionKey {
        let key = AccessKey(prefix: "ASIA", bytes: random)
        let token = hex(Array(random.dropFirst(AccessKey.bytesNeeded)))
        functions[key.id] = Entry(
            secret: key.secret, caller: .function(function, account: account, role: role, policies: policies), token: token)
        return FunctionKey(key: key, token: token)
    }

    package static let grantBytes = AccessKey.bytesNeeded + 32

    package func revoke(_ key: FunctionKey) { functions[key.key.id] = nil }

    package var functionKeys: Int { functions.count }

    /// The secret of a key and whose it is.
    ///
    /// - Parameters:
    ///   - token: `X-Amz-Security-Token`.
    ///   - now: seconds since 1970.
    package func find(_ id: String, token: String?, at now: UInt64) throws(Fault) -> (secret: String, caller: Caller) {
        if let entry = roots[id] ?? users[id] {
            guard token == nil else { throw .badToken }
            return (entry.secret, entry.caller)
        }
        if let entry = functions[id], let own = entry.token {
            guard let token else { throw .unknown }
            guard equalsInConstantTime(Array(own.utf8), Array(token.utf8)) else { throw .badToken }
            return (entry.secret, entry.caller)
        }
        guard let token else { throw .unknown }
        guard let temporary = TemporaryKey(id: id, token: token, node: tokenSecret) else { throw .badToken }
        guard now < temporary.expiry else { throw .expired }
        guard let parent = roots[temporary.parent] ?? users[temporary.parent] else { throw .badToken }
        return (temporary.key.secret, parent.caller)
    }

    /// A temporary key of one that lasts and is not switched off; nil: there is none with this id.
    package func temporary(of parent: String, until expiry: UInt64, noise: [UInt8]) -> TemporaryKey? {
        guard roots[parent] ?? users[parent] != nil else { return nil }
        return TemporaryKey(of: parent, until: expiry, noise: noise, node: tokenSecret)
    }
}
