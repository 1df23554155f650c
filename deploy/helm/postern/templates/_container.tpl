{{/* postern.yaml: what the chart knows, and config on top of it. */}}
{{- define "postern.config" -}}
{{- $v := .Values -}}
{{- $inPod := eq $v.shape "agent-sidecar" -}}
{{- $listener := dict "name" "agents" "address" (printf "%s:%s" (ternary "127.0.0.1" "0.0.0.0" $inPod) (include "postern.port" .)) "mode" $v.mode -}}
{{- with $v.listener.tls -}}
{{- if .enabled -}}
{{- $tls := dict "certFile" "/etc/postern/listener/tls.crt" "keyFile" "/etc/postern/listener/tls.key" "minVersion" .minVersion "clientCertificates" .clientCertificates -}}
{{- if eq .clientCertificates "verify" -}}{{- $_ := set $tls "clientCaFile" "/etc/postern/listener/ca.crt" -}}{{- end -}}
{{- $_ := set $listener "tls" $tls -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.shape "gateway") $v.gateway.proxyProtocolFrom -}}
{{- $_ := set $listener "proxyProtocolFrom" $v.gateway.proxyProtocolFrom -}}
{{- end -}}
{{- $upstream := dict "address" $v.broker.address "username" $v.broker.username -}}
{{- if eq $v.shape "broker-sidecar" -}}
{{- $_ := set $upstream "address" "unix:/run/mosquitto/postern.sock" -}}
{{- end -}}
{{- if $v.broker.credentialSecret -}}
{{- $_ := set $upstream "passwordFile" "/etc/postern/broker/password" -}}
{{- end -}}
{{- if $v.broker.tls.enabled -}}
{{- $tls := dict "caFile" "/etc/postern/tls/ca.crt" -}}
{{- if $v.broker.tls.serverName -}}{{- $_ := set $tls "serverName" $v.broker.tls.serverName -}}{{- end -}}
{{- if $v.broker.tls.clientCertificate -}}
{{- $_ := set $tls "certFile" "/etc/postern/tls/tls.crt" -}}
{{- $_ := set $tls "keyFile" "/etc/postern/tls/tls.key" -}}
{{- end -}}
{{- $_ := set $upstream "tls" $tls -}}
{{- end -}}
{{- if $v.broker.proxyProtocol -}}{{- $_ := set $upstream "proxyProtocol" "v2" -}}{{- end -}}
{{- $base := dict
  "listeners" (list $listener)
  "upstream" $upstream
  "policy" (dict "file" "/etc/postern/policy/policy.yaml")
  "audit" (dict "file" "/var/lib/postern/audit.jsonl")
  "admin" (dict "address" "0.0.0.0:9464") -}}
{{- with $v.revocation -}}
{{- if .enabled -}}
{{- $revocation := dict "file" "/var/lib/postern/revocations.jsonl" -}}
{{- if .adminKey -}}{{- $_ := set $revocation "secretFile" (printf "/etc/postern/revocation/%s" .adminKey) -}}{{- end -}}
{{- if .listConfigMap -}}{{- $_ := set $revocation "listFile" "/etc/postern/revocation-list/list.json" -}}{{- end -}}
{{- $_ := set $base "revocation" $revocation -}}
{{- end -}}
{{- end -}}
{{- $own := deepCopy $v.config -}}
{{- if not $own.audience -}}{{- $_ := unset $own "audience" -}}{{- end -}}
{{- toYaml (mergeOverwrite $base $own) -}}
{{- end -}}

{{/* The container, the same in every shape. */}}
{{- define "postern.container" -}}
name: postern
image: {{ include "postern.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# --wait: a Secret that is missing shows on /readyz and in the log, not as a crash loop.
args: [run, --wait]
env:
  - name: POSTERN_INSTANCE
    valueFrom: { fieldRef: { fieldPath: metadata.name } }
ports:
  - { name: mqtt, containerPort: {{ include "postern.port" . }}, protocol: TCP }
  - { name: admin, containerPort: 9464, protocol: TCP }
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 5
  timeoutSeconds: 3
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "postern.containerSecurity" 65532 | nindent 2 }}
volumeMounts:
  - { name: postern-config, mountPath: /etc/postern/postern.yaml, subPath: postern.yaml, readOnly: true }
  - { name: postern-policy, mountPath: /etc/postern/policy, readOnly: true }
  {{- if .Values.keys.existingConfigMap }}
  - { name: postern-keys, mountPath: /etc/postern/keys, readOnly: true }
  {{- end }}
  {{- if .Values.broker.credentialSecret }}
  - { name: postern-broker, mountPath: /etc/postern/broker, readOnly: true }
  {{- end }}
  {{- if .Values.store.secret }}
  - { name: postern-store, mountPath: /etc/postern/store, readOnly: true }
  {{- end }}
  {{- if .Values.broker.tls.enabled }}
  - { name: postern-tls, mountPath: /etc/postern/tls, readOnly: true }
  {{- end }}
  {{- if .Values.listener.tls.enabled }}
  - { name: postern-listener, mountPath: /etc/postern/listener, readOnly: true }
  {{- end }}
  {{- if .Values.revocation.secretName }}
  - { name: postern-revocation, mountPath: /etc/postern/revocation, readOnly: true }
  {{- end }}
  {{- if .Values.revocation.listConfigMap }}
  - { name: postern-revocation-list, mountPath: /etc/postern/revocation-list, readOnly: true }
  {{- end }}
  {{- range $i, $name := .Values.secrets }}
  - { name: postern-secret-{{ $i }}, mountPath: /etc/postern/secrets/{{ $name }}, readOnly: true }
  {{- end }}
  {{- if eq .Values.shape "broker-sidecar" }}
  - { name: broker-socket, mountPath: /run/mosquitto }
  {{- end }}
  - { name: postern-audit, mountPath: /var/lib/postern }
{{- end -}}

{{/* Its volumes, without the audit log of a StatefulSet. A Secret may come later than the pod. */}}
{{- define "postern.volumes" -}}
- name: postern-config
  configMap: { name: {{ include "postern.fullname" . }} }
- name: postern-policy
  configMap: { name: {{ include "postern.policyName" . }}, optional: true }
{{- if .Values.keys.existingConfigMap }}
- name: postern-keys
  configMap: { name: {{ .Values.keys.existingConfigMap }}, optional: true }
{{- end }}
{{- if .Values.broker.credentialSecret }}
- name: postern-broker
  secret:
    secretName: {{ .Values.broker.credentialSecret }}
    optional: true
    defaultMode: 0440
    items: [{ key: {{ .Values.broker.passwordKey }}, path: password }]
{{- end }}
{{- if .Values.store.secret }}
- name: postern-store
  secret: { secretName: {{ .Values.store.secret }}, optional: true, defaultMode: 0440 }
{{- end }}
{{- if .Values.broker.tls.enabled }}
- name: postern-tls
  secret: { secretName: {{ .Values.broker.tls.secretName }}, optional: true, defaultMode: 0440 }
{{- end }}
{{- if .Values.listener.tls.enabled }}
- name: postern-listener
  secret: { secretName: {{ .Values.listener.tls.secretName }}, optional: true, defaultMode: 0440 }
{{- end }}
{{- with .Values.revocation.secretName }}
- name: postern-revocation
  secret: { secretName: {{ . }}, optional: true, defaultMode: 0440 }
{{- end }}
{{- with .Values.revocation.listConfigMap }}
- name: postern-revocation-list
  configMap: { name: {{ . }}, optional: true }
{{- end }}
{{- range $i, $name := .Values.secrets }}
- name: postern-secret-{{ $i }}
  secret: { secretName: {{ $name }}, optional: true, defaultMode: 0440 }
{{- end }}
{{- if ne .Values.shape "broker-sidecar" }}
- name: postern-audit
  {{- if .Values.audit.claim }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        {{- include "postern.claim" .Values.audit | nindent 8 }}
  {{- else }}
  emptyDir: { sizeLimit: {{ .Values.audit.size }} }
  {{- end }}
{{- end }}
{{- end -}}

{{/* @param a dict with size and storageClass */}}
{{- define "postern.claim" -}}
accessModes: [ReadWriteOnce]
{{- if .storageClass }}
storageClassName: {{ .storageClass }}
{{- end }}
resources: { requests: { storage: {{ .size }} } }
{{- end -}}

{{/* Pod Security `restricted`. @param the user */}}
{{- define "postern.containerSecurity" -}}
runAsUser: {{ . }}
runAsGroup: {{ . }}
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
privileged: false
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "postern.podMeta" -}}
labels:
  {{- include "postern.labels" . | nindent 2 }}
  {{- include "postern.proxiedLabel" . | nindent 2 }}
  {{- with .Values.podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  checksum/config: {{ include "postern.config" . | sha256sum }}
  {{- with .Values.podAnnotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}

{{- define "postern.pod" -}}
serviceAccountName: {{ include "postern.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "postern.gracePeriod" . }}
securityContext:
  runAsNonRoot: true
  # Secrets, the audit volume and the broker's socket belong to this group.
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
