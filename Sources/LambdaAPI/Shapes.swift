/// The bodies of the control plane's requests, as botocore's model of 2015-03-31 describes them; with Hearth's own fields, which only need
/// to be of the right kind.
extension Shape {
    static let revision = Field.optional("RevisionId", .text())

    static let createFunction = object(
        [
            .required("FunctionName", .text()), .required("Role", .text(.role)), .required("Code", .object(code)),
            .optional("Publish", .flag), .optional("PackageType", .oneOf("Zip", "Image")), .optional("Tags", .tags),
            .optional("Architectures", architectures), .optional("CodeSigningConfigArn", .text(0...200)),
            .optional("PublishTo", .oneOf("LATEST_PUBLISHED")), .optional("TenancyConfig", .object([])),
            .optional("HearthURL", .oneOf("open")),
        ] + configuration)

    static let updateConfiguration = object([.optional("Role", .text(.role)), revision] + configuration)

    static let updateCode = object(
        code + [
            .optional("Publish", .flag), .optional("DryRun", .flag), revision, .optional("Architectures", architectures),
            .optional("PublishTo", .oneOf("LATEST_PUBLISHED")),
        ])

    static let publishVersion = object([
        .optional("CodeSha256", .text()), .optional("Description", .text(0...256)), revision,
        .optional("PublishTo", .oneOf("LATEST_PUBLISHED")),
    ])

    static let createAlias = object(
        [
            .required("Name", .text(1...128, .aliasName)), .required("FunctionVersion", .text(1...1024, .version)),
        ] + alias)

    static let updateAlias = object([.optional("FunctionVersion", .text(1...1024, .version)), revision] + alias)

    static let reserved = object([.optional("ReservedConcurrentExecutions", .integer(Int.min...Int.max))])
    static let provisioned = object([.required("ProvisionedConcurrentExecutions", .integer(1...Int.max))])

    static let createURL = object([.required("AuthType", authType)] + url)
    static let updateURL = object([.optional("AuthType", authType)] + url)

    static let addPermission = object([
        .required("StatementId", .text(1...100, .statement)),
        .required("Action", .text(.action)), .required("Principal", .text(1...Int.max, .noSpace)),
        .optional("SourceArn", .text(.sourceARN)), .optional("SourceAccount", .text(0...12, .account)),
        .optional("EventSourceToken", .text(0...256, .token)), .optional("PrincipalOrgID", .text(12...34, .organization)),
        .optional("FunctionUrlAuthType", authType), .optional("InvokedViaFunctionUrl", .flag), revision,
    ])

    static let tagResource = object([.required("Tags", .tags)])

    static let eventInvoke = object([
        .optional("MaximumRetryAttempts", .integer(0...2)), .optional("MaximumEventAgeInSeconds", .integer(60...21_600)),
        .optional("DestinationConfig", .object([.optional("OnSuccess", destination), .optional("OnFailure", destination)])),
    ])

    static let publishLayer = object([
        .optional("Description", .text(0...256)), .optional("LicenseInfo", .text(0...512)),
        .required("Content", .object(code.filter { $0.name != "ImageUri" })),
        .optional("CompatibleRuntimes", .list(.text(0...128), max: 15)), .optional("CompatibleArchitectures", .list(architecture, max: 2)),
    ])

    static let addLayerPermission = object([
        .required("StatementId", .text(1...100, .statement)), .required("Action", .text(0...22, .layerAction)),
        .required("Principal", .text(1...Int.max, .layerPrincipal)), .optional("OrganizationId", .text(0...34, .organization)),
    ])

    // MARK: Parts

    static let tags = map(keys: TextRule(length: 0...128), values: .text(0...256))

    private static let architecture = oneOf("x86_64", "arm64")
    private static let architectures = list(architecture, max: 1)
    private static let authType = oneOf("NONE", "AWS_IAM")
    private static let destination = object([.optional("Destination", .text(0...350))])

    /// Code, and the same fields of UpdateFunctionCode.
    private static let code: [Field] = [
        .optional("ZipFile", .text()), .optional("S3Bucket", .text(3...63, .bucket)), .optional("S3Key", .text(1...1024)),
        .optional("S3ObjectVersion", .text(1...1024)), .optional("ImageUri", .text()), .optional("SourceKMSKeyArn", .text(.resource)),
    ]

    private static let alias: [Field] = [
        .optional("Description", .text(0...256)),
        .optional(
            "RoutingConfig",
            .object([
                .optional("AdditionalVersionWeights", .map(keys: TextRule(length: 1...1024, pattern: .number), values: .decimal(0...1)))
            ])),
    ]

    private static let url: [Field] = [
        .optional("InvokeMode", .oneOf("RESPONSE_STREAM", "BUFFERED")),
        .optional(
            "Cors",
            .object([
                .optional("AllowCredentials", .flag), .optional("AllowHeaders", .list(.text(0...1024), max: 100)),
                .optional("AllowMethods", .list(.text(0...6), max: 6)), .optional("AllowOrigins", .list(.text(1...253), max: 100)),
                .optional("ExposeHeaders", .list(.text(0...1024), max: 100)), .optional("MaxAge", .integer(0...86_400)),
            ])),
    ]

    /// What CreateFunction and UpdateFunctionConfiguration have in common. (The runtime is judged apart: AWS has another error for it.)
    private static let configuration: [Field] = [
        .optional("Runtime", .text()), .optional("Handler", .text(0...128, .noSpace)), .optional("Description", .text(0...256)),
        .optional("Timeout", .integer(1...900)), .optional("MemorySize", .integer(128...10_240)),
        .optional("EphemeralStorage", .object([.required("Size", .integer(512...10_240))])),
        .optional("SnapStart", .object([.optional("ApplyOn", .oneOf("PublishedVersions", "None"))])),
        .optional("Environment", .object([.optional("Variables", .map(keys: TextRule(), values: .text()))])),
        .optional("DeadLetterConfig", .object([.optional("TargetArn", .text(.resource))])),
        .optional("TracingConfig", .object([.optional("Mode", .oneOf("Active", "PassThrough"))])),
        .optional(
            "LoggingConfig",
            .object([
                .optional("LogFormat", .oneOf("JSON", "Text")),
                .optional("ApplicationLogLevel", .oneOf("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")),
                .optional("SystemLogLevel", .oneOf("DEBUG", "INFO", "WARN")), .optional("LogGroup", .text(1...512, .logGroup)),
            ])),
        .optional("Layers", .list(.text(1...2048, .layerVersion), max: Int.max)), .optional("KMSKeyArn", .text(.resource)),
        .optional(
            "VpcConfig",
            .object([
                .optional("SubnetIds", .list(.text(), max: 16)), .optional("SecurityGroupIds", .list(.text(), max: 5)),
                .optional("Ipv6AllowedForDualStack", .flag),
            ])),
        .optional(
            "FileSystemConfigs",
            .list(.object([.required("Arn", .text(0...256)), .required("LocalMountPath", .text(0...160, .mountPath))]), max: 1)),
        .optional(
            "ImageConfig",
            .object([
                .optional("EntryPoint", .list(.text(), max: 1500)), .optional("Command", .list(.text(), max: 1500)),
                .optional("WorkingDirectory", .text(0...1000)),
            ])),
        .optional("CapacityProviderConfig", .object([])), .optional("DurableConfig", .object([])),
    ]
}

extension Shape.Pattern {
    static let role = Self(shown: #"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"#) {
        $0.wholeMatch(of: /arn:(aws[a-zA-Z-]*)?:iam::[0-9]{12}:role\/?[a-zA-Z_0-9+=,.@\-\/]+/) != nil
    }
    static let noSpace = Self(shown: #"[^\s]+"#) { !$0.isEmpty && !$0.contains(where: \.isWhitespace) }
    static let aliasName = Self(shown: "(?!^[0-9]+$)([a-zA-Z0-9-_]+)") {
        $0.wholeMatch(of: /[a-zA-Z0-9\-_]+/) != nil && $0.contains { !("0"..."9").contains($0) }
    }
    static let version = Self(shown: #"(\$LATEST(\.PUBLISHED)?|[0-9]+)"#) { $0.wholeMatch(of: /\$LATEST(\.PUBLISHED)?|[0-9]+/) != nil }
    static let number = Self(shown: "[0-9]+") { $0.wholeMatch(of: /[0-9]+/) != nil }
    static let statement = Self(shown: "([a-zA-Z0-9-_]+)") { $0.wholeMatch(of: /[a-zA-Z0-9\-_]+/) != nil }
    static let action = Self(shown: "(lambda:[*]|lambda:[a-zA-Z]+|[*])") { $0.wholeMatch(of: /lambda:\*|lambda:[a-zA-Z]+|\*/) != nil }
    static let sourceARN = Self(
        shown: #"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)"#
    ) { $0.wholeMatch(of: /arn:aws[a-zA-Z0-9\-]*:[a-zA-Z0-9\-]+:([a-z\-]+-[0-9])?:([0-9]{12})?:.*/) != nil }
    static let account = Self(shown: #"\d{12}"#) { $0.wholeMatch(of: /[0-9]{12}/) != nil }
    static let token = Self(shown: #"[a-zA-Z0-9._\-]+"#) { $0.wholeMatch(of: /[a-zA-Z0-9._\-]+/) != nil }
    static let organization = Self(shown: "o-[a-z0-9]{10,32}") { $0.wholeMatch(of: /o-[a-z0-9]{10,32}/) != nil }
    static let bucket = Self(shown: #"[0-9A-Za-z\.\-_]*(?<!\.)"#) { $0.wholeMatch(of: /[0-9A-Za-z.\-_]*/) != nil && $0.last != "." }
    static let resource = Self(shown: #"(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()"#) {
        $0.isEmpty || $0.wholeMatch(of: /arn:(aws[a-zA-Z\-]*)?:[a-z0-9\-.]+:.*/) != nil
    }
    static let logGroup = Self(shown: #"[\.\-_/#A-Za-z0-9]+"#) { $0.wholeMatch(of: /[.\-_\/#A-Za-z0-9]+/) != nil }
    static let mountPath = Self(shown: #"/mnt/[a-zA-Z0-9-_.]+"#) { $0.wholeMatch(of: /\/mnt\/[a-zA-Z0-9\-_.]+/) != nil }
    static let layerVersion = Self(
        shown:
            #"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"#
    ) { LayerName($0)?.number != nil }
    static let layerName = Self(shown: #"(arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+"#) {
        LayerName($0).map { $0.number == nil } ?? false
    }
    static let layerAction = Self(shown: "lambda:GetLayerVersion") { $0 == "lambda:GetLayerVersion" }
    static let layerPrincipal = Self(shown: #"\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root"#) {
        $0.wholeMatch(of: /[0-9]{12}|\*|arn:aws[a-zA-Z\-]*:iam::[0-9]{12}:root/) != nil
    }
    static let urlQualifier = Self(shown: #"((?!^\d+$)^[0-9a-zA-Z-_]+$)"#) { aliasName.matches($0) }
}
