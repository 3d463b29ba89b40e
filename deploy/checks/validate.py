"""Validates rendered manifests against one version's Kubernetes schemas, strictly, and a few rules of ours."""
import sys

import kubernetes_validate
import yaml

FOREIGN = ("monitoring.coreos.com/",)


def pod_of(manifest):
    template = manifest.get("spec", {}).get("template", {})
    return template.get("spec")


def rules(manifest):
    """What Pod Security 'restricted' and our own promises ask of every pod."""
    pod = pod_of(manifest)
    if pod is None:
        return
    if pod.get("automountServiceAccountToken") is not False:
        yield "the service account's token is mounted"
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "the pod may run as root or without seccomp"
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{container['name']} may escalate its privileges"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']} may write its root file system"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{container['name']} has no memory limit"
        served = manifest["kind"] in ("Deployment", "StatefulSet")
        if served and not all(p in container for p in ("livenessProbe", "readinessProbe", "startupProbe")):
            yield f"{container['name']} lacks a probe"


def main(version, path):
    bad = 0
    with open(path, encoding="utf-8") as file:
        for manifest in filter(None, yaml.safe_load_all(file)):
            what = f"{manifest['kind']} {manifest['metadata']['name']}"
            if not manifest["apiVersion"].startswith(FOREIGN):
                try:
                    kubernetes_validate.validate(manifest, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    print(f"{version}: {what}: {'.'.join(map(str, error.path))}: {error.message}", file=sys.stderr)
                    bad += 1
            for broken in rules(manifest):
                print(f"{version}: {what}: {broken}", file=sys.stderr)
                bad += 1
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
