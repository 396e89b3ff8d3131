import Catalog
import Config
import Crypto
import IAM
import SigV4
import UV

/// The keyring of the listeners, and how it follows the catalogue.
enum Keys {
    /// - Parameter loop: which the keyring belongs to.
    static func open(_ config: RuntimeConfig, _ catalog: Catalog, _ credentials: Credentials, loop: Loop) -> Keyring {
        let keyring = Keyring(
            account: config.accountID, root: AccessKey(id: credentials.accessKeyID, secret: credentials.secretAccessKey))
        if !config.altAccessKey.isEmpty {
            keyring.add(
                root: AccessKey(id: config.altAccessKey, secret: config.altSecretKey), account: altAccount(config), name: "alt")
        }
        keyring.adopt(users(catalog.accessKeys))
        let box = LoopBound(keyring, on: loop)
        catalog.onKeysChange { [remote = loop.remote] keys in
            let users = users(keys)
            remote.post { box.wrapped.adopt(users) }
        }
        return keyring
    }

    /// The second account of S3 has the next number.
    static func altAccount(_ config: RuntimeConfig) -> String {
        let next = String(((UInt64(config.accountID) ?? 0) + 1) % 1_000_000_000_000)
        return String(repeating: "0", count: 12 - next.count) + next
    }

    /// The API listener's URL for who is on the same machine; always numeric, so that SDKs put buckets into paths.
    static func endpoint(of host: String, port: Int) -> String {
        let near = ["0.0.0.0": "127.0.0.1", "::": "::1"][host] ?? host
        return "http://\(ListenAddress(host: near, port: port))"
    }

    /// A policy that can no longer be read must not make its key mightier.
    private static func users(_ keys: [AccessKeyEntry]) -> [Keyring.User] {
        keys.filter(\.isEnabled).map { key in
            Keyring.User(
                key: AccessKey(id: key.id, secret: key.secret), name: key.name,
                policies: key.policy.map { [(try? Policy($0.utf8, kind: .identity)) ?? .closed] } ?? [])
        }
    }
}
