/// A function URL: who may use it and how it answers.
package struct URLSettings: Codable, Equatable, Sendable {
    /// How browsers are told that pages of other origins may use it.
    package struct CORS: Codable, Equatable, Sendable {
        package var allowsCredentials: Bool?
        package var headers: [String]?
        package var methods: [String]?
        package var origins: [String]?
        package var exposed: [String]?
        /// Seconds.
        package var ageMax: Int?

        package init() {}
    }

    /// `NONE`: whom the resource policy allows; `AWS_IAM`: signed requests.
    package var auth: String
    /// `BUFFERED`, or `RESPONSE_STREAM`: what a handler answers in pieces goes out in pieces. nil: never said, which is BUFFERED.
    package var invokeMode: String?
    package var cors: CORS?
    /// Milliseconds since 1970.
    package var created: Int64
    package var modified: Int64

    package init(auth: String, at time: Int64) {
        self.auth = auth
        created = time
        modified = time
    }
}

/// A function URL as the front listener judges it: settings and policy, looked at once a commit.
package struct FunctionURL: Sendable {
    package let settings: URLSettings
    /// Is everybody served, unsigned?
    package let isOpen: Bool
    package var isSigned: Bool { settings.auth == Self.signed }

    package static let signed = "AWS_IAM"
    package static let open = "NONE"
    package static let streaming = "RESPONSE_STREAM"

    init(_ settings: URLSettings, _ policy: ResourcePolicy?) {
        self.settings = settings
        let question = AccessQuestion(.anonymous, "lambda:InvokeFunctionUrl", urlAuthType: Self.open)
        isOpen = settings.auth == Self.open && policy?.permits(question) == true
    }
}

/// An open URL as the catalogue stores it: settings, and the statement that the console of AWS adds for one.
struct OpenURL {
    let settings: String
    let statements: String

    init(at time: Int64) throws {
        var statement = PolicyStatement(sid: "FunctionURLAllowPublicAccess", action: "lambda:InvokeFunctionUrl", principal: "*")
        statement.urlAuthType = FunctionURL.open
        var open = URLSettings(auth: FunctionURL.open, at: time)
        open.invokeMode = FunctionURL.streaming
        settings = try Catalog.encode(open)
        statements = try Catalog.encode([statement])
    }
}
