import Base
import Testing

@testable import IAM

/// Which keys are found, and what their owners are told.
@Suite struct KeyringTests {
    private let now: UInt64 = 1_795_597_200
    private let root = AccessKey(id: "AKIAROOT", secret: "root secret")

    private func bytes(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var random = Random(seed: seed)
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    private func outcome(_ keyring: Keyring, _ id: String, _ token: String? = nil, at time: UInt64? = nil) -> String {
        do { return try keyring.find(id, token: token, at: time ?? now).caller.arn } catch { return "\(error)" }
    }

    private func user(_ name: String, _ policy: String? = nil) throws -> Keyring.User {
        Keyring.User(
            key: AccessKey(id: "AKIA\(name)", secret: "secret of \(name)"), name: name,
            policies: try [policy].compactMap { $0 }.map { try Policy($0.utf8, kind: .identity) })
    }

    @Test func rootsAndUsersAreFoundAsLongAsTheyAreThere() throws {
        let keyring = Keyring(account: "000000000000", root: root)
        keyring.add(root: AccessKey(id: "AKIAALT", secret: "x"), account: "000000000001", name: "alt")
        keyring.adopt([try user("ada"), try user("bob")])
        #expect(outcome(keyring, "AKIAROOT") == "arn:aws:iam::000000000000:root" && outcome(keyring, "AKIAALT") == "arn:aws:iam::000000000001:root")
        #expect(outcome(keyring, "AKIAada") == "arn:aws:iam::000000000000:user/ada" && outcome(keyring, "AKIAnobody") == "unknown")
        #expect(try keyring.find("AKIAbob", token: nil, at: now).secret == "secret of bob")
        #expect(outcome(keyring, "AKIAada", "a token") == "badToken", "a key that lasts has no token")
        keyring.adopt([try user("bob")])
        #expect(outcome(keyring, "AKIAada") == "unknown" && outcome(keyring, "AKIAbob") != "unknown")
    }

    @Test func temporaryKeysExpireAndEndWithTheirKey() throws {
        let keyring = Keyring(account: "000000000000", root: root)
        keyring.adopt([try user("ada")])
        #expect(keyring.temporary(of: "AKIAnobody", until: now, noise: bytes(8, 1)) == nil)
        let key = try #require(keyring.temporary(of: "AKIAada", until: now + 900, noise: bytes(8, 1)))
        #expect(key.key.id.hasPrefix("ASIA") && key.key.id.utf8.count == 20 && key.key.secret.utf8.count == 40)
        #expect(outcome(keyring, key.key.id, key.token) == "arn:aws:iam::000000000000:user/ada" && outcome(keyring, key.key.id, key.token, at: now + 899) != "expired")
        #expect(try keyring.find(key.key.id, token: key.token, at: now).secret == key.key.secret)
        #expect(outcome(keyring, key.key.id, key.token, at: now + 900) == "expired" && outcome(keyring, key.key.id) == "unknown")
        let other = try #require(keyring.temporary(of: "AKIAada", until: now + 900, noise: bytes(8, 2)))
        #expect(other.key.id != key.key.id && outcome(keyring, key.key.id, other.token) == "badToken")
        var characters = Array(key.token)
        for index in characters.indices {
            let was = characters[index]
            characters[index] = was == "A" ? "B" : "A"
            let told = outcome(keyring, key.key.id, String(characters))
            // (The last character's spare bits mean nothing.)
            if index < characters.count - 3 { #expect(told == "badToken", "\(index)") }
            characters[index] = was
        }
        for bad in ["", "x", "====", String(repeating: "A", count: 2000)] { #expect(outcome(keyring, key.key.id, bad) == "badToken", "\(bad.prefix(9))") }
        // The same after a restart; another node knows nothing of it.
        let again = Keyring(account: "000000000000", root: root)
        again.adopt([try user("ada")])
        #expect(outcome(again, key.key.id, key.token).hasSuffix("user/ada"))
        #expect(outcome(Keyring(account: "000000000000", root: AccessKey(id: "AKIAROOT", secret: "other")), key.key.id, key.token) == "badToken")
        keyring.adopt([])
        #expect(outcome(keyring, key.key.id, key.token) == "badToken", "removed or switched off: so are the keys made of it")
    }

    @Test func aFunctionsKeyLivesUntilItIsRevoked() throws {
        let keyring = Keyring(account: "000000000000", root: root)
        let policy = try Policy(#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#.utf8, kind: .identity)
        let key = keyring.grant("thumbs", role: "arn:aws:iam::000000000000:role/hearth", policies: [policy], random: bytes(Keyring.grantBytes, 3))
        let arn = "arn:aws:sts::000000000000:assumed-role/hearth/thumbs"
        #expect(outcome(keyring, key.key.id, key.token) == arn && outcome(keyring, key.key.id, key.token, at: now + 1_000_000_000) == arn)
        #expect(outcome(keyring, key.key.id) == "unknown" && outcome(keyring, key.key.id, key.token + "0") == "badToken" && key.token.utf8.count == 64)
        let caller = try keyring.find(key.key.id, token: key.token, at: now).caller
        #expect(caller.refusal("s3:GetObject", on: "arn:aws:s3:::b/x") == nil)
        #expect(
            caller.refusal("lambda:ListFunctions", on: "*")
                == "User: \(arn) is not authorized to perform: lambda:ListFunctions on resource: * because no identity-based policy allows the lambda:ListFunctions action")
        keyring.revoke(key)
        #expect(outcome(keyring, key.key.id, key.token) == "badToken" && keyring.functionKeys == 0)
    }

    @Test func severalPoliciesAddUpAndOneDenialIsEnough() throws {
        func policy(_ effect: String, _ action: String) throws -> Policy {
            try Policy(#"{"Statement":{"Effect":"\#(effect)","Action":"\#(action)","Resource":"*"}}"#.utf8, kind: .identity)
        }
        let ada = Caller.user("ada", account: "000000000000", policies: [try policy("Allow", "s3:*"), try policy("Allow", "lambda:*"), try policy("Deny", "s3:Put*")])
        #expect(ada.refusal("s3:GetObject", on: "*") == nil && ada.refusal("lambda:GetFunction", on: "*") == nil)
        #expect(ada.refusal("s3:PutObject", on: "*")?.hasSuffix("with an explicit deny in an identity-based policy") == true)
        #expect(Caller.user("bob", account: "000000000000", policies: []).verdict("s3:GetObject", on: "*", [:]) == .silent)
        #expect(Caller.root(account: "000000000000").refusal("anything", on: "*") == nil)
    }
}
