import ArgumentParser
import Foundation

/// `hearth keys …`: access keys, each with a policy of its own.
struct KeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "Make, list, show, switch off and remove access keys; change their policies.",
        discussion: """
            A key may do what its policy allows (AWS policy JSON), and without one nothing. The credentials of hearth env may do \
            everything.
            """,
        subcommands: [
            KeysCreate.self, KeysList.self, KeysShow.self, KeysPolicy.self, KeysDisable.self, KeysEnable.self, KeysRemove.self,
            KeysTemporary.self,
        ])

    /// A policy as it is given on the command line: JSON, or the file with it.
    static func policy(_ text: String) throws -> String {
        if text.drop(while: \.isWhitespace).hasPrefix("{") { return text }
        guard let bytes = FileManager.default.contents(atPath: text) else {
            throw Failure("--policy \(text) is neither JSON nor a file that can be read: \(String(cString: strerror(errno)))")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func body(_ object: [String: Any]) throws -> [UInt8] { Array(try JSONSerialization.data(withJSONObject: object)) }
}

struct KeysCreate: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Make a key; its secret is shown this once.")

    @Argument(help: "Its name: letters, digits and +=,.@_-") var name: String
    @Option(help: "What it may do: a file with an AWS policy, or the policy's JSON itself.") var policy: String?
    @OptionGroup var connection: Connection

    func run() throws {
        var order: [String: Any] = ["name": name]
        if let policy { order["policy"] = try KeysCommand.policy(policy) }
        let answer = try expect(connection.client().call("POST", "/_hearth/keys", body: KeysCommand.body(order)), 200)
        if connection.json { return printJSON(answer.body) }
        let key = jsonObject(answer.body)
        say("export AWS_ACCESS_KEY_ID='\(key["access_key_id"] ?? "")'")
        say("export AWS_SECRET_ACCESS_KEY='\(key["secret_access_key"] ?? "")'")
        if policy == nil { say(error: "\(name) may do nothing yet: hearth keys policy \(name) FILE") }
    }
}

struct KeysList: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Show all keys, without their secrets.")

    @OptionGroup var connection: Connection

    func run() throws {
        let answer = try expect(connection.client().call("GET", "/_hearth/keys"), 200)
        if connection.json { return printJSON(answer.body) }
        let keys = jsonObject(answer.body)["keys"] as? [[String: Any]] ?? []
        printTable(
            ["NAME", "ACCESS KEY", "STATE", "STATEMENTS"],
            keys.map { key in
                [
                    key["name"] as? String ?? "", key["access_key_id"] as? String ?? "",
                    key["enabled"] as? Bool == true ? "enabled" : "disabled", String(Self.statements(key["policy"])),
                ]
            })
    }

    /// Of a policy; without one there is none.
    private static func statements(_ policy: Any?) -> Int {
        (policy as? [String: Any]).map { ($0["Statement"] as? [Any])?.count ?? 1 } ?? 0
    }
}

struct KeysShow: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a key and its policy.")

    @Argument(help: "The key's name.") var name: String
    @OptionGroup var connection: Connection

    func run() throws {
        let answer = try expect(connection.client().call("GET", "/_hearth/keys/\(pathPart(name))"), 200)
        if connection.json { return printJSON(answer.body) }
        let key = jsonObject(answer.body)
        let state = key["enabled"] as? Bool == true ? "enabled" : "disabled"
        say("\(name)  \(key["access_key_id"] ?? "")  \(state)")
        guard let policy = key["policy"], !(policy is NSNull) else { return say("no policy: it may do nothing") }
        let text = try JSONSerialization.data(withJSONObject: policy, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
        printJSON(Array(text))
    }
}

struct KeysPolicy: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "policy", abstract: "Give a key another policy; it holds at once.")

    @Argument(help: "The key's name.") var name: String
    @Argument(help: "A file with an AWS policy, or the policy's JSON itself.") var policy: String
    @OptionGroup var connection: Connection

    func run() throws {
        let order = try KeysCommand.body(["policy": KeysCommand.policy(policy)])
        try expect(connection.client().call("POST", "/_hearth/keys/\(pathPart(name))/policy", body: order), 200)
        if connection.json { sayJSON(["name": name]) } else { say("\(name) has another policy") }
    }
}

struct KeysDisable: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable", abstract: "Switch a key off, and with it the temporary keys that were made of it.")

    @Argument(help: "The key's name.") var name: String
    @OptionGroup var connection: Connection

    func run() throws { try orderKey("POST", name, "disable", "disabled", connection) }
}

struct KeysEnable: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "enable", abstract: "Switch a key on again.")

    @Argument(help: "The key's name.") var name: String
    @OptionGroup var connection: Connection

    func run() throws { try orderKey("POST", name, "enable", "enabled", connection) }
}

struct KeysRemove: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Remove a key for good.")

    @Argument(help: "The key's name.") var name: String
    @OptionGroup var connection: Connection

    func run() throws { try orderKey("DELETE", name, nil, "removed", connection) }
}

struct KeysTemporary: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "temporary", abstract: "Make credentials of a key that expire, in the form of a credential_process of AWS's SDKs.",
        discussion: "In ~/.aws/config: credential_process = hearth keys temporary NAME")

    @Argument(help: "The key's name.") var name: String
    @Option(help: "Seconds for which they are good, 129600 at the most.") var seconds = 3600
    @OptionGroup var connection: Connection

    func run() throws {
        let order = try KeysCommand.body(["seconds": seconds])
        let answer = jsonObject(try expect(connection.client().call("POST", "/_hearth/keys/\(pathPart(name))/temporary", body: order), 200).body)
        let expiry = Date(timeIntervalSince1970: ((answer["expires_ms"] as? NSNumber)?.doubleValue ?? 0) / 1000)
        // (AWS SDKs and Tools Reference Guide, "Process credential provider")
        sayJSON([
            "Version": 1, "AccessKeyId": answer["access_key_id"] ?? "", "SecretAccessKey": answer["secret_access_key"] ?? "",
            "SessionToken": answer["session_token"] ?? "", "Expiration": expiry.formatted(.iso8601),
        ])
    }
}

private func orderKey(_ method: String, _ name: String, _ order: String?, _ done: String, _ connection: Connection) throws {
    try expect(connection.client().call(method, "/_hearth/keys/\(pathPart(name))" + (order.map { "/\($0)" } ?? "")), 200)
    if connection.json { sayJSON(["name": name, "state": done]) } else { say("\(name) is \(done)") }
}
