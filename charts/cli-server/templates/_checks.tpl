{{/* What a schema cannot say. Each message: which value, what is wrong, what to do. */}}
{{- define "cli-server.checks" -}}
{{- $values := .Values -}}
{{- if not $values.baseDomain -}}
{{- fail "baseDomain is not set. It is the host of the main site, such as agents.example.com; sandboxes get names below it." -}}
{{- end -}}
{{- if not (or $values.postgresql.enabled $values.database.url $values.database.existingSecret.name) -}}
{{- fail "database.url is not set. Set it to postgresql://user:password@host:5432/name, name a secret with it in database.existingSecret.name, or let the chart run one: postgresql.enabled=true." -}}
{{- end -}}
{{- if and $values.postgresql.enabled (or $values.database.url $values.database.existingSecret.name) -}}
{{- fail "postgresql.enabled and database.url (or database.existingSecret.name) are both set. Which database is meant? Take one of them away." -}}
{{- end -}}
{{- include "cli-server.signInChecks" . -}}
{{- include "cli-server.backendChecks" . -}}
{{- if lt (int $values.terminationGracePeriodSeconds) (add (int $values.preStopSeconds) 75 | int) -}}
{{- fail (printf "terminationGracePeriodSeconds is %v, too short: the pause of preStopSeconds (%v) and 75 seconds to end must fit in. Set it to at least %v." $values.terminationGracePeriodSeconds $values.preStopSeconds (add (int $values.preStopSeconds) 75)) -}}
{{- end -}}
{{- if and $values.gateway.enabled (not $values.gateway.parentRefs) -}}
{{- fail "gateway.parentRefs is empty. Name the Gateway that the routes belong to: --set gateway.parentRefs[0].name=NAME." -}}
{{- end -}}
{{- if and $values.serviceMonitor.enabled (not $values.metrics.enabled) -}}
{{- fail "serviceMonitor.enabled without metrics.enabled: Prometheus would reach nothing. Set metrics.enabled=true, and networkPolicy.metricsFrom to where Prometheus runs." -}}
{{- end -}}
{{- end -}}

{{- define "cli-server.signInChecks" -}}
{{- $github := .Values.oidc.github -}}
{{- if and $github.enabled (not (and $github.clientId (or $github.clientSecret $github.existingSecret.name))) -}}
{{- fail "oidc.github.enabled needs oidc.github.clientId and oidc.github.clientSecret, or the secret's name in oidc.github.existingSecret.name." -}}
{{- end -}}
{{- $generic := .Values.oidc.generic -}}
{{- if and $generic.enabled (not (and $generic.issuerUrl $generic.clientId (or $generic.clientSecret $generic.existingSecret.name))) -}}
{{- fail "oidc.generic.enabled needs oidc.generic.issuerUrl, oidc.generic.clientId and oidc.generic.clientSecret, or the secret's name in oidc.generic.existingSecret.name." -}}
{{- end -}}
{{- end -}}

{{- define "cli-server.backendChecks" -}}
{{- $values := .Values -}}
{{- if eq $values.backend "docker" -}}
{{- if not (or $values.docker.socketPath $values.docker.host) -}}
{{- fail "backend docker needs a way to an engine: docker.socketPath for the node's own (/var/run/docker.sock), or docker.host for tcp://host:port." -}}
{{- end -}}
{{- if gt (int $values.replicaCount) 1 -}}
{{- fail "replicaCount must be 1 with backend docker: sandboxes are reached from the node of their engine only. Use backend k8s for more." -}}
{{- end -}}
{{- else -}}
{{- if gt (len (include "cli-server.namespacePrefix" .)) 46 -}}
{{- fail (printf "sandbox.namespace %q is longer than 46 characters: namespaces have 63, and 17 are for the workspace." (include "cli-server.namespacePrefix" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
