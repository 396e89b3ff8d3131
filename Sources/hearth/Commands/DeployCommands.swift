import ArgumentParser
import Config
import Foundation

struct Deploy: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Deploy the function in a directory.",
        discussion: "The new version takes traffic when its provisioned workers are ready; if it cannot start, the old one stays.")

    @Argument(help: "The directory of the function.") var path: String
    @Option(help: "The function's name; the directory's name if not given.") var name: String?
    @Option(help: "The alias that takes the new version's traffic.") var alias = "live"
    @Option(help: "Workers kept initialised; the manifest's number if not given.") var provisioned: Int?
    @OptionGroup var connection: Connection

    func validate() throws {
        if let provisioned, !(0...1000).contains(provisioned) {
            throw ValidationError("--provisioned \(provisioned) is impossible: it must be from 0 to 1000 workers")
        }
    }

    func run() throws {
        let directory = URL(fileURLWithPath: path).standardizedFileURL
        let name = self.name ?? directory.lastPathComponent
        guard Manifest.isName(name) else {
            throw Failure("\(name) cannot be a function's name: use 1 to 64 letters, digits, - and _, or give --name")
        }
        let client = try connection.client()
        var deployment = Deployment(directory: directory.path, name: name, client: client, alias: alias, provisioned: provisioned)
        let isTerminal = isatty(2) == 1
        if isTerminal, !connection.json { deployment.progress = { say(error: "  \($0) …") } }
        let began = Date()
        let result = try deployment.run()
        let url = "\(try connection.front())/\(name)/"
        if connection.json {
            return sayJSON([
                "function": name, "version": result.version, "new": result.isNew, "workers": result.workers, "url": url,
            ])
        }
        let time = Int(Date().timeIntervalSince(began) * 1000)
        say("\(result.isNew ? "deployed" : "up to date:") \(name) version \(result.version) in \(time) ms, \(result.workers) warm")
        say(url)
    }
}

struct Rollback: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Point a function's alias back to the version before.")

    @Argument(help: "The function.") var name: String
    @Option(help: "The alias.") var alias = "live"
    @OptionGroup var connection: Connection

    func run() throws {
        let body = try JSONSerialization.data(withJSONObject: ["alias": alias])
        let response = try connection.client().call("POST", "/_hearth/functions/\(pathPart(name))/rollback", body: Array(body))
        try expect(response, 200)
        if connection.json { return printJSON(response.body) }
        let answer = jsonObject(response.body)
        say("\(name): \(alias) is version \(answer["version"] ?? "?") again (was \(answer["previous"] ?? "?"))")
    }
}

struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Delete a function with all its versions.")

    @Argument(help: "The function.") var name: String
    @OptionGroup var connection: Connection

    func run() throws {
        let client = try connection.client()
        // Its buckets and schedules tell it nothing any more; that there is no such function is said by the next call.
        let none = try JSONEncoder().encode(SourceOrder(qualifier: "live"))
        _ = try client.call("PUT", "/_hearth/functions/\(pathPart(name))/sources", body: Array(none))
        try expect(client.call("DELETE", "/2015-03-31/functions/\(pathPart(name))"), 204)
        if connection.json { sayJSON(["removed": name]) } else { say("removed \(name)") }
    }
}

struct Scale: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Set a function's provisioned or reserved concurrency.")

    @Argument(help: "The function.") var name: String
    @Option(help: "Workers kept initialised for the alias.") var provisioned: Int?
    @Option(help: "Most invocations at a time, kept for this function; \"none\" removes the limit.") var reserved: String?
    @Option(help: "The alias.") var alias = "live"
    @OptionGroup var connection: Connection

    func validate() throws {
        guard provisioned != nil || reserved != nil else {
            throw ValidationError("say what to scale: --provisioned N or --reserved N")
        }
        if let provisioned, !(0...1000).contains(provisioned) {
            throw ValidationError("--provisioned \(provisioned) is impossible: it must be from 0 to 1000 workers")
        }
        if let reserved, reserved != "none", Int(reserved).map({ $0 >= 0 }) != true {
            throw ValidationError("--reserved \(reserved) is neither a number of invocations nor none")
        }
    }

    func run() throws {
        let client = try connection.client()
        // Reserved concurrency is never below what is provisioned.
        if try isLowered(client) {
            try setProvisioned(client)
            try setReserved(client)
        } else {
            try setReserved(client)
            try setProvisioned(client)
        }
        let response = try expect(client.call("GET", "/_hearth/functions/\(pathPart(name))"), 200)
        if connection.json { return printJSON(response.body) }
        let answer = jsonObject(response.body)
        let workers = answer["workers"] as? [String: Any] ?? [:]
        say("\(name): provisioned \(workers["provisioned"] ?? 0), reserved \(answer["reserved"] as? Int ?? -1 == -1 ? "none" : "\(answer["reserved"] ?? "")")")
    }

    private var reservedPath: String { "functions/\(pathPart(name))/concurrency" }

    private func isLowered(_ client: APIClient) throws -> Bool {
        guard let wanted = reserved.flatMap({ Int($0) }) else { return false }
        let known = jsonObject(try expect(client.call("GET", "/2019-09-30/\(reservedPath)"), 200).body)
        return wanted < known["ReservedConcurrentExecutions"] as? Int ?? .max
    }

    private func setReserved(_ client: APIClient) throws {
        guard let reserved else { return }
        let path = "/2017-10-31/\(reservedPath)"
        if reserved == "none" {
            try expect(client.call("DELETE", path), 204)
        } else {
            try expect(client.call("PUT", path, body: Array(#"{"ReservedConcurrentExecutions":\#(reserved)}"#.utf8)), 200)
        }
    }

    private func setProvisioned(_ client: APIClient) throws {
        guard let provisioned else { return }
        let path = "/2019-09-30/functions/\(pathPart(name))/provisioned-concurrency"
        let query = "Qualifier=\(pathPart(alias))"
        if provisioned == 0 {
            try expect(client.call("DELETE", path, query: query), 204)
        } else {
            try expect(
                client.call("PUT", path, query: query, body: Array(#"{"ProvisionedConcurrentExecutions":\#(provisioned)}"#.utf8)), 202)
        }
    }
}
