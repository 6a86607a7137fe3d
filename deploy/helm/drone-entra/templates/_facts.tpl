{{/*
What the manifests must know of the configuration, as YAML. It refuses what would not run in a pod: a file that no volume brings, an
address that nobody reaches. It reads leniently; `drone-entra check` is what tells whether a configuration is right.
*/}}
{{- define "drone-entra.facts" -}}
{{- $config := include "drone-entra.config" . | fromYaml -}}
{{- if $config.Error -}}
{{- fail (printf "config: this is no YAML: %s" $config.Error) -}}
{{- end -}}
{{- if not $config.version -}}
{{- fail "config: this is no configuration of drone-entra: `version: 1` is missing" -}}
{{- end -}}
{{- $listen := $config.listen | default dict -}}
{{- $limits := $config.limits | default dict -}}
{{- $record := $config.record | default dict -}}
{{- $address := $listen.address | default ":3000" -}}
{{- if not (regexMatch "^(|0\\.0\\.0\\.0|\\[::\\]):[0-9]+$" $address) -}}
{{- fail (printf "config: listen.address: nobody reaches %q in a pod; write \":3000\"" $address) -}}
{{- end -}}
{{- with $record.file -}}
{{- if ne (dir .) "/var/lib/drone-entra" -}}
{{- fail (printf "config: record.file: %s is not on the claim, which is mounted at /var/lib/drone-entra" .) -}}
{{- end -}}
{{- end -}}
{{- include "drone-entra.tls" (dict "listen" $listen "secret" .Values.tls.secretName) -}}
{{- include "drone-entra.keys" $config -}}
{{- $drain := include "drone-entra.seconds" (dict "name" "drain" "value" ($limits.drain | default "5s")) | int -}}
{{- $budget := include "drone-entra.seconds" (dict "name" "budget" "value" ($limits.budget | default "20s")) | int -}}
scheme: {{ ternary "HTTPS" "HTTP" (hasKey $listen "tls") }}
port: {{ regexFind "[0-9]+$" $address }}
{{/* The last answer ends with the drain, the budget and five seconds; half a minute more is for the record and a busy node. */ -}}
grace: {{ add $drain $budget 5 30 }}
{{/* Follows only what takes a restart, so that a change of the rules restarts nothing. */ -}}
restart: {{ list $listen $record ($config.log | default dict) ($limits.connections | default "") $drain | toJson | sha256sum }}
{{- $managed := include "drone-entra.managed" $config -}}
{{- range .Values.configFiles -}}
{{- $managed = printf "%s%s" $managed (include "drone-entra.managed" (fromYaml .)) -}}
{{- end }}
{{/* Managed identities are asked for at the machine's metadata service. */ -}}
metadata: {{ or (not .Values.azure.workloadIdentity) (contains "managed" $managed) }}
{{- end -}}

{{/* Not empty where a file has an identity that is, or is proven by, a managed one. */}}
{{- define "drone-entra.managed" -}}
{{- if kindIs "map" .identities -}}
{{- range .identities -}}
{{- if kindIs "map" . -}}
{{- if or (hasKey . "managed") (and (kindIs "map" .assertion) (hasKey (.assertion | default dict) "managed")) -}}
managed
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "drone-entra.tls" -}}
{{- if hasKey .listen "tls" -}}
{{- if not .secret -}}
{{- fail "tls.secretName: name the Secret with the certificate for the configuration's listen.tls" -}}
{{- end -}}
{{- range $key, $want := dict "cert" "/tls/tls.crt" "key" "/tls/tls.key" -}}
{{- if ne (get $.listen.tls $key | toString) $want -}}
{{- fail (printf "config: listen.tls.%s: write %s, where the Secret of tls.secretName is mounted" $key $want) -}}
{{- end -}}
{{- end -}}
{{- else if .secret -}}
{{- fail "tls.secretName: the configuration has no listen.tls that would use it: write `tls: {cert: /tls/tls.crt, key: /tls/tls.key}` there" -}}
{{- else if not .listen.plain_http -}}
{{- fail "config: listen: name a certificate under tls, or write `plain_http: true` where a mesh or a proxy ends TLS" -}}
{{- end -}}
{{- end -}}

{{- define "drone-entra.keys" -}}
{{- if not .pools -}}
{{- fail "config: pools: name the runners' keys, as in `pools: {default: {keys: [{id: first, file: /run/keys/default}]}}`" -}}
{{- end -}}
{{- range $pool, $of := .pools -}}
{{- range $of.keys -}}
{{- if not (hasPrefix "/run/keys/" (.file | toString)) -}}
{{- fail (printf "config: pools.%s.keys: each key is a `file` below /run/keys, where the Secret of keys.secretName is mounted" $pool) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
