{{/* The server's settings (docs/configuration.md) as an object; what is empty is left to the server's own default. */}}
{{- define "cli-server.settings" -}}
{{- $values := .Values -}}
{{- $limits := dig "limits" dict $values.workspace.resources -}}
{{- $requests := dig "requests" dict $values.workspace.resources -}}
{{- $github := ternary $values.oidc.github dict $values.oidc.github.enabled -}}
{{- $generic := ternary $values.oidc.generic dict $values.oidc.generic.enabled -}}
LISTEN: ":8080"
DATA_DIR: /var/lib/cli-server
METRICS_LISTEN: {{ ternary ":9464" "127.0.0.1:9464" $values.metrics.enabled | quote }}
BACKEND: {{ $values.backend }}
BASE_DOMAIN: {{ $values.baseDomain | quote }}
BASE_SCHEME: {{ $values.baseScheme }}
PUBLIC_PORT: {{ $values.publicPort | toString | quote }}
IDLE_TIMEOUT: {{ $values.idleTimeout | toString | quote }}
BUSY_LIMIT: {{ $values.busyLimit | toString | quote }}
REGISTRATION: {{ $values.registration }}
TRUSTED_PROXIES: {{ join "," $values.trustedProxies | quote }}
AUDIT_RETENTION: {{ $values.auditRetention | toString | quote }}
SECURITY_CONTACT: {{ $values.securityContact | quote }}
LOG_LEVEL: {{ $values.logLevel }}
LOG_FORMAT: json
SECRET_KEY_FILE: /run/secrets/cli-server/secret.key
ANTHROPIC_BASE_URL: {{ $values.anthropicBaseUrl | quote }}
OIDC_REDIRECT_BASE_URL: {{ $values.oidc.redirectBaseUrl | quote }}
GITHUB_CLIENT_ID: {{ dig "clientId" "" $github | quote }}
GITHUB_ALLOWED_ORGS: {{ join "," (dig "allowedOrgs" list $github) | quote }}
GITHUB_URL: {{ dig "url" "" $github | quote }}
GITHUB_API_URL: {{ dig "apiUrl" "" $github | quote }}
OIDC_ISSUER_URL: {{ dig "issuerUrl" "" $generic | quote }}
OIDC_CLIENT_ID: {{ dig "clientId" "" $generic | quote }}
OIDC_NAME: {{ dig "name" "" $generic | quote }}
OIDC_SCOPES: {{ dig "scopes" "" $generic | quote }}
OIDC_ALLOWED_DOMAINS: {{ join "," (dig "allowedDomains" list $generic) | quote }}
OIDC_ADMIN_GROUP: {{ dig "adminGroup" "" $generic | quote }}
OIDC_GROUPS_CLAIM: {{ dig "groupsClaim" "" $generic | quote }}
AGENT_IMAGE: {{ $values.opencode.image | quote }}
AGENT_RUNTIME: {{ $values.opencode.runtimeClassName | quote }}
AGENT_EGRESS: {{ $values.workspace.egress }}
AGENT_MEMORY_LIMIT: {{ dig "memory" "" $limits | toString | quote }}
AGENT_CPU_LIMIT: {{ dig "cpu" "" $limits | toString | quote }}
{{ if eq $values.backend "k8s" -}}
{{ include "cli-server.kubernetesSettings" (dict "root" . "limits" $limits "requests" $requests) }}
{{- else -}}
DOCKER_HOST: {{ default (printf "unix://%s" $values.docker.socketPath) $values.docker.host | quote }}
{{- end }}
{{- end -}}

{{- define "cli-server.kubernetesSettings" -}}
{{- $values := .root.Values -}}
{{- $selector := include "cli-server.selector" .root | fromYaml -}}
{{- $labels := list -}}
{{- range $name, $value := $selector -}}{{- $labels = append $labels (printf "%s=%s" $name $value) -}}{{- end -}}
ANTHROPIC_PROXY_URL: http://{{ include "cli-server.fullname" .root }}.{{ .root.Release.Namespace }}.svc:8082/proxy/anthropic
AGENT_LISTEN: ":8082"
REPLICA_LISTEN: ":8081"
K8S_NAMESPACE_PREFIX: {{ include "cli-server.namespacePrefix" .root }}
K8S_SERVER_NAMESPACE: {{ .root.Release.Namespace }}
K8S_SERVER_LABELS: {{ join "," $labels | quote }}
{{- $role := ternary (printf "%s-workspace" (include "cli-server.clusterName" .root)) $values.rbac.workspaceRole $values.rbac.create }}
K8S_SERVICE_ACCOUNT: {{ ternary (include "cli-server.serviceAccount" .root) "" (ne "" $role) | quote }}
K8S_WORKSPACE_ROLE: {{ $role | quote }}
K8S_STORAGE_CLASS: {{ $values.persistence.storageClassName | quote }}
K8S_HOME_SIZE: {{ $values.persistence.sessionStorageSize | quote }}
K8S_DISK_SIZE: {{ $values.persistence.userDriveSize | quote }}
K8S_DISK_ACCESS_MODE: {{ $values.persistence.userDriveAccessMode }}
K8S_EPHEMERAL_LIMIT: {{ dig "ephemeral-storage" "" .limits | toString | quote }}
K8S_CPU_REQUEST: {{ dig "cpu" "" .requests | toString | quote }}
K8S_MEMORY_REQUEST: {{ dig "memory" "" .requests | toString | quote }}
K8S_EGRESS_ALLOW: {{ join "," $values.workspace.egressAllow | quote }}
K8S_NODE_SELECTOR: {{ include "cli-server.pairs" $values.workspace.nodeSelector | quote }}
K8S_TOLERATIONS: {{ ternary (toJson $values.workspace.tolerations) "" (not (empty $values.workspace.tolerations)) | quote }}
{{- end -}}

{{/* {"a": "b"} as a=b,… */}}
{{- define "cli-server.pairs" -}}
{{- $pairs := list -}}
{{- range $name, $value := . -}}{{- $pairs = append $pairs (printf "%s=%s" $name $value) -}}{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{/* The secrets that are mounted: each with the secret's name, its key, the file's name, and the setting that names the file. */}}
{{- define "cli-server.secretFiles" -}}
{{- $own := include "cli-server.fullname" . -}}
{{- $values := .Values -}}
{{- $postgresql := $values.postgresql -}}
{{- if $postgresql.enabled }}
- {name: {{ default (include "cli-server.postgresqlName" .) $postgresql.existingSecret.name }}, key: {{ ternary $postgresql.existingSecret.urlKey "url" (ne "" $postgresql.existingSecret.name) }}, file: database-url, setting: DATABASE_URL_FILE}
{{- else if or $values.database.url $values.database.existingSecret.name }}
{{- include "cli-server.secretFile" (list $own "database-url" "DATABASE_URL_FILE" $values.database.existingSecret) }}
{{- end }}
{{- include "cli-server.secretFile" (list (printf "%s-key" $own) "secret.key" "" $values.secretKey.existingSecret) }}
{{- if or $values.anthropicApiKey $values.anthropicApiKeyExistingSecret.name }}
{{- include "cli-server.secretFile" (list $own "anthropic-api-key" "ANTHROPIC_API_KEY_FILE" $values.anthropicApiKeyExistingSecret) }}
{{- end }}
{{- if or $values.anthropicAuthToken $values.anthropicAuthTokenExistingSecret.name }}
{{- include "cli-server.secretFile" (list $own "anthropic-auth-token" "ANTHROPIC_AUTH_TOKEN_FILE" $values.anthropicAuthTokenExistingSecret) }}
{{- end }}
{{- if or $values.opencode.config $values.opencode.configExistingSecret.name }}
{{- include "cli-server.secretFile" (list $own "opencode-config" "OPENCODE_CONFIG_CONTENT_FILE" $values.opencode.configExistingSecret) }}
{{- end }}
{{- if $values.oidc.github.enabled }}
{{- include "cli-server.secretFile" (list $own "github-client-secret" "GITHUB_CLIENT_SECRET_FILE" $values.oidc.github.existingSecret) }}
{{- end }}
{{- if $values.oidc.generic.enabled }}
{{- include "cli-server.secretFile" (list $own "oidc-client-secret" "OIDC_CLIENT_SECRET_FILE" $values.oidc.generic.existingSecret) }}
{{- end }}
{{- end -}}

{{/* One of them: (our secret, file, setting, the operator's own secret). The file is the key in ours. */}}
{{- define "cli-server.secretFile" -}}
{{- $existing := index . 3 }}
- {name: {{ default (index . 0) $existing.name }}, key: {{ ternary $existing.key (index . 1) (ne "" $existing.name) }}, file: {{ index . 1 }}, setting: {{ index . 2 | quote }}}
{{- end -}}

{{/* What stands in our own secret: the credentials that were given as values. */}}
{{- define "cli-server.credentials" -}}
{{- $values := .Values -}}
{{- $found := dict -}}
{{- if and $values.database.url (not $values.postgresql.enabled) (not $values.database.existingSecret.name) -}}
{{- $_ := set $found "database-url" $values.database.url -}}
{{- end -}}
{{- if and $values.anthropicApiKey (not $values.anthropicApiKeyExistingSecret.name) -}}
{{- $_ := set $found "anthropic-api-key" $values.anthropicApiKey -}}
{{- end -}}
{{- if and $values.anthropicAuthToken (not $values.anthropicAuthTokenExistingSecret.name) -}}
{{- $_ := set $found "anthropic-auth-token" $values.anthropicAuthToken -}}
{{- end -}}
{{- if and $values.opencode.config (not $values.opencode.configExistingSecret.name) -}}
{{- $config := $values.opencode.config -}}
{{- $_ := set $found "opencode-config" (ternary $config (toJson $config) (kindIs "string" $config)) -}}
{{- end -}}
{{- if and $values.oidc.github.enabled $values.oidc.github.clientSecret (not $values.oidc.github.existingSecret.name) -}}
{{- $_ := set $found "github-client-secret" $values.oidc.github.clientSecret -}}
{{- end -}}
{{- if and $values.oidc.generic.enabled $values.oidc.generic.clientSecret (not $values.oidc.generic.existingSecret.name) -}}
{{- $_ := set $found "oidc-client-secret" $values.oidc.generic.clientSecret -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}
