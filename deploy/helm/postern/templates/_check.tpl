{{/* Everything that values.schema.json cannot see, all at once. */}}
{{- define "postern.check" -}}
{{- $v := .Values -}}
{{- $p := list -}}
{{- if not $v.config.issuers -}}
{{- $p = append $p "config.issuers: name at least one issuer of tokens, with `issuer` and `jwks.url`" -}}
{{- end -}}
{{- range $i, $issuer := $v.config.issuers -}}
{{- if not $issuer.issuer -}}
{{- $p = append $p (printf "config.issuers[%d].issuer: write the exact value of the `iss` claim" $i) -}}
{{- end -}}
{{- $jwks := default dict $issuer.jwks -}}
{{- if not (or $jwks.url $jwks.file) -}}
{{- $p = append $p (printf "config.issuers[%d].jwks: write `url`, or `file` below /etc/postern/keys" $i) -}}
{{- end -}}
{{- if and $jwks.file (not $v.keys.existingConfigMap) -}}
{{- $p = append $p "keys.existingConfigMap: an issuer has `jwks.file`, so name the ConfigMap that holds it" -}}
{{- end -}}
{{- if not (or $issuer.audience $v.config.audience) -}}
{{- $p = append $p "config.audience: write what your issuer puts into `aud` for this proxy" -}}
{{- end -}}
{{- end -}}
{{- if and (not $v.config.issuers) (not $v.config.audience) -}}
{{- $p = append $p "config.audience: write what your issuer puts into `aud` for this proxy" -}}
{{- end -}}
{{- if and (hasKey $v.config "upstream") (hasKey (default dict $v.config.upstream) "password") -}}
{{- $p = append $p "config.upstream.password: put it into a Secret and name that as broker.credentialSecret" -}}
{{- end -}}
{{- if not (or $v.policy.text $v.policy.existingConfigMap) -}}
{{- $p = append $p "policy.text: write the policy, or name policy.existingConfigMap" -}}
{{- end -}}
{{- if and $v.policy.text $v.policy.existingConfigMap -}}
{{- $p = append $p "policy.existingConfigMap: policy.text is given too, keep one of them" -}}
{{- end -}}
{{- if and (not $v.broker.address) (ne $v.shape "broker-sidecar") -}}
{{- $p = append $p "broker.address: write host:port of the broker" -}}
{{- end -}}
{{- if not (or $v.broker.credentialSecret (and $v.broker.tls.enabled $v.broker.tls.clientCertificate)) -}}
{{- $p = append $p "broker.credentialSecret: name the Secret with the broker password, or use broker.tls.clientCertificate" -}}
{{- end -}}
{{- if and $v.broker.tls.enabled (not $v.broker.tls.secretName) -}}
{{- $p = append $p "broker.tls.secretName: name the Secret with ca.crt" -}}
{{- end -}}
{{- if and $v.broker.tls.certManager.enabled (not $v.broker.tls.certManager.issuerName) -}}
{{- $p = append $p "broker.tls.certManager.issuerName: name the cert-manager issuer" -}}
{{- end -}}
{{- if and $v.broker.tls.certManager.enabled (not (and $v.broker.tls.enabled $v.broker.tls.clientCertificate)) -}}
{{- $p = append $p "broker.tls.certManager.enabled: needs broker.tls.enabled and broker.tls.clientCertificate" -}}
{{- end -}}
{{- if and $v.broker.tls.enabled (eq $v.shape "broker-sidecar") -}}
{{- $p = append $p "broker.tls.enabled: in shape broker-sidecar the broker is behind a Unix socket, without TLS" -}}
{{- end -}}
{{- with $v.listener.tls -}}
{{- if and .enabled (eq $v.shape "agent-sidecar") -}}
{{- $p = append $p "listener.tls.enabled: in shape agent-sidecar the agent is on loopback, without TLS" -}}
{{- end -}}
{{- if and .enabled (not .secretName) -}}
{{- $p = append $p "listener.tls.secretName: name the Secret with tls.crt and tls.key" -}}
{{- end -}}
{{- if and (not .enabled) (or .certManager.enabled (ne .clientCertificates "none")) -}}
{{- $p = append $p "listener.tls.enabled: listener.tls has no effect without it" -}}
{{- end -}}
{{- if and .certManager.enabled (not .certManager.issuerName) -}}
{{- $p = append $p "listener.tls.certManager.issuerName: name the cert-manager issuer" -}}
{{- end -}}
{{- end -}}
{{- with $v.revocation -}}
{{- if and (not .enabled) (or .secretName .adminKey .listConfigMap) -}}
{{- $p = append $p "revocation.enabled: revocation has no effect without it" -}}
{{- end -}}
{{- if and .adminKey (not .secretName) -}}
{{- $p = append $p "revocation.secretName: name the Secret that holds revocation.adminKey" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.shape "broker-sidecar") (not $v.mosquitto.passwordFileSecret) -}}
{{- $p = append $p "mosquitto.passwordFileSecret: name the Secret with Mosquitto's password file" -}}
{{- end -}}
{{- if and (eq $v.shape "agent-sidecar") (not $v.agent.image) (not $v.injection.enabled) -}}
{{- $p = append $p "agent.image: name the image of your agent, or set injection.enabled" -}}
{{- end -}}
{{- if eq (int $v.agent.runAsUser) 65532 -}}
{{- $p = append $p "agent.runAsUser: 65532 is Postern's own user, take another" -}}
{{- end -}}
{{- if and (ne $v.shape "agent-sidecar") (or $v.capture.enabled $v.injection.enabled) -}}
{{- $p = append $p "capture.enabled, injection.enabled: only for shape agent-sidecar" -}}
{{- end -}}
{{- if and $v.capture.enabled (not $v.capture.image) -}}
{{- $p = append $p "capture.image: name an image that has nft" -}}
{{- end -}}
{{- if and (ne $v.shape "gateway") $v.monitoring.serviceMonitor.enabled -}}
{{- $p = append $p "monitoring.serviceMonitor.enabled: only shape gateway has a Service for it, use podMonitor" -}}
{{- end -}}
{{- if $p -}}
{{- fail (printf "\n\nNothing is rendered, these values are missing or wrong:\n  - %s\n" (join "\n  - " (uniq $p))) -}}
{{- end -}}
{{- end -}}

{{/* Where Postern listens in its pod. */}}
{{- define "postern.port" -}}
{{- if .Values.capture.enabled -}}11883{{- else if .Values.listener.tls.enabled -}}8883{{- else -}}1883{{- end -}}
{{- end -}}

{{/* Seconds of a duration such as 500ms, 10s, 2m, 1h, rounded up. */}}
{{- define "postern.seconds" -}}
{{- $n := regexFind "^[0-9]+" . | int -}}
{{- if hasSuffix "ms" . -}}{{- div (add $n 999) 1000 -}}
{{- else if hasSuffix "m" . -}}{{- mul $n 60 -}}
{{- else if hasSuffix "h" . -}}{{- mul $n 3600 -}}
{{- else -}}{{- $n -}}{{- end -}}
{{- end -}}

{{/* The drain, and time to flush and close. */}}
{{- define "postern.gracePeriod" -}}
{{- $drain := dig "sessions" "drain" "10s" .Values.config -}}
{{- add (include "postern.seconds" $drain | int) 10 -}}
{{- end -}}
