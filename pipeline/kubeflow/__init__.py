"""The pipeline on Kubeflow: compiled, checked, executed task by task without a cluster, submitted."""
