"""The rows of RESULTS.md: one command and one number each."""

from typing import NamedTuple


class Row(NamedTuple):
    """Say what to run and which number to read.

    Attributes:
        name: of the row.
        arguments: of `jaxdl train`.
        metric: that is read, of the test data, or of the last validation where there is no test.
        target: that it is to reach, where one is asked for.
        reference: what the paper or another code reports, as text.
        maximize: whether more of it is better.
        seeds: runs, with seeds 0, 1, ...
        scale: factor of the number as it is shown; −1 turns an ELBO into a bound on the NLL.
    """

    name: str
    arguments: str
    metric: str
    target: float | None
    reference: str = ""
    maximize: bool = True
    seeds: int = 1
    scale: float = 1


MNIST = "--dataset mnist"
DDPG = "--num-critics 1 --smoothing-std 0 --policy-every 1"
PENDULUM = (
    "--environment Pendulum-v1 --num-envs 4 --num-steps 256 --epochs 10 --minibatches 16 --discount 0.9 "
    "--gae-lambda 0.95 --env-steps 300000"
)
ACROBOT = (
    "--environment Acrobot-v1 --num-steps 64 --epochs 10 --minibatches 4 --discount 0.99 --gae-lambda 0.94 "
    "--env-steps 200000"
)
MOUNTAIN_CAR = (
    "--environment MountainCar-v0 --unit --octaves 2 --collect 2 --updates 8 --explore-share 0.3 "
    "--explore-last 0.02 --target-rate 0.01 --discount 0.99 --env-steps 100000"
)
SPLITS = f"{MNIST} --train-split train[:99%] --validation-split train[99%:]"
FIXED = f"{SPLITS} --binarization fixed --weight-decay 0.01"
DYNAMIC = f"{SPLITS} --binarization dynamic"
EIGHT_BITS = f"{SPLITS} --bins 256"
VAE = f"{DYNAMIC} --latent-dim 50 --hidden 200 200 --nll-samples 5000"
PIXEL_RNN = "--layers 3 --learning-rate 5e-3 --epochs 12"
DENSITY = "flow_density.py --density"
ROWS = [
    Row("multilayer perceptron, digits", "mlp_digits.py", "accuracy", 0.98),
    Row("convolutional network, digits", "cnn_digits.py", "accuracy", 0.985),
    Row("ResNet-20, CIFAR-10", "resnet_cifar10.py", "accuracy", 0.91, "0.9125 (paper)"),
    Row(
        "ResNet-20, a fifth of CIFAR-10 (train 10,000, test 2,000), two cores",
        "resnet_cifar10.py --epochs 12 --strategy pmap --cpu-devices 2 --train-split train[:9500] "
        "--validation-split train[9500:10000] --test-split test[:2000]",
        "accuracy",
        None,
        "0.9125 (paper; all of it, 200 epochs)",
    ),
    Row("convolutional network, MNIST", f"cnn_digits.py {MNIST} --epochs 10", "accuracy", 0.992),
    Row("VAE, digits, −ELBO in nats", "vae_digits.py", "elbo", 19, maximize=False, scale=-1),
    Row("VAE, photographs, ELBO in nats", "vae_photographs.py", "elbo", 820),
    Row(
        "VAE of levels, photographs, ELBO in nats",
        "vae_photographs.py --decoder discretized_logistic --steps 2000",
        "elbo",
        -3300,
    ),
    *(
        Row(f"{system}, digits, −ELBO in nats", arguments, "elbo", target, maximize=False, scale=-1)
        for system, arguments, target in (
            ("β-VAE, β = 4", "vae_digits.py --beta 4", None),
            ("VAE with inverse autoregressive flow", "vae_digits.py --flow-layers 2", 18.4),
            ("conditional VAE", "conditional_vae_digits.py", 20.5),
            ("VAE that fills squares of 5x5", "conditional_vae_digits.py --task inpainting", 11.6),
        )
    ),
    *(
        Row(
            f"{system}, digits, squared error",
            f"autoencoder_digits.py{arguments}",
            "loss",
            target,
            "1.55 (8 principal components)" if target else "",
            maximize=False,
        )
        for system, arguments, target in (
            ("autoencoder", "", 0.85),
            ("linear autoencoder", " --kind linear --learning-rate 1e-2", 1.6),
            ("sparse autoencoder, L1", " --kind sparse_l1 --latent-dim 128", None),
            ("sparse autoencoder, KL", " --kind sparse_kl --latent-dim 128", None),
            ("denoising autoencoder", " --kind denoising --latent-dim 128", None),
            ("contractive autoencoder", " --kind contractive", None),
        )
    ),
    Row("M2, digits, 100 labels: error", "m2_digits.py", "error", 0.15, "", False),
    Row(
        "M2 with relaxed labels, digits, 100 labels: error",
        "m2_digits.py --temperature 0.5",
        "error",
        0.15,
        maximize=False,
    ),
    Row("CAVI, ring: log-density in nats", "cavi_ring.py", "log_prob", -4.77, "−4.757 (the true density)"),
    *(
        Row(f"{system}, −log p in nats", arguments, "nll", target, reference, maximize=False)
        for system, arguments, target, reference in (
            ("MADE, digits at a threshold", "made_digits.py", 17.5, ""),
            ("FVSBN, digits at a threshold", "made_digits.py --model fvsbn", 19.6, ""),
            ("NADE, digits at a threshold", "nade_digits.py", 17.3, ""),
            ("DeepNADE, digits at a threshold", "order_agnostic_digits.py", 16.7, ""),
            (
                "ConvNADE, digits at a threshold",
                "order_agnostic_digits.py --net convolutional --depth 2 --epochs 50 --num-orders 1",
                19.6,
                "",
            ),
            ("gated PixelCNN, digits at a threshold", "pixelcnn_digits.py", 17.4, ""),
            ("PixelCNN, digits at a threshold", "pixelcnn_digits.py --model pixelcnn", None, ""),
            (
                "Row LSTM, digits at a threshold",
                f"pixelcnn_digits.py --model row_lstm {PIXEL_RNN}",
                17.9,
                "",
            ),
            (
                "Diagonal BiLSTM, digits at a threshold",
                f"pixelcnn_digits.py --model diagonal_bilstm {PIXEL_RNN}",
                17.9,
                "",
            ),
            ("table, 3x3 pixels of digits at a threshold", "tabular_digits.py", 5.05, ""),
            ("AR(2), 64 steps", "ar_series.py", 91.3, "91.25 (the law of the series)"),
            (
                "MADE, one mask, MNIST, fixed binarization",
                f"made_digits.py {FIXED} --learning-rate 1e-2 --epochs 30",
                95,
                "88.40 (paper), 94.5 (pytorch-made)",
            ),
            (
                "MADE, 4 masks, MNIST, fixed binarization",
                f"made_digits.py {SPLITS} --binarization fixed --weight-decay 0.03 --learning-rate 1e-2 "
                "--epochs 130 --num-masks 4 --natural-order",
                92,
                "88.04 (paper, 32 masks)",
            ),
            (
                "FVSBN, MNIST, fixed binarization",
                f"made_digits.py {FIXED} --learning-rate 2e-2 --epochs 20 --model fvsbn",
                98.5,
                "97.45 (Gan et al., 2015)",
            ),
            (
                "NADE, MNIST, fixed binarization",
                f"nade_digits.py {FIXED} --learning-rate 1e-2 --epochs 12",
                90,
                "88.33 (paper)",
            ),
            (
                "gated PixelCNN, MNIST, dynamic binarization",
                f"pixelcnn_digits.py {DYNAMIC} --first-size 27 --learning-rate 5e-3 --epochs 5",
                85,
                "81.30 (PixelCNN, paper)",
            ),
        )
    ),
    Row(
        "VAE, MNIST, −log p in nats, k=5000, dynamic binarization",
        f"vae_digits.py {VAE} --epochs 300",
        "nll_k5000_dynamic",
        90.5,
        "86.76 (Burda et al., 2016)",
        False,
    ),
    Row(
        "IWAE k=50, MNIST, −log p in nats, k=5000, dynamic binarization",
        f"vae_digits.py {VAE} --k 50 --batch-size 20 --epochs 80",
        "nll_k5000_dynamic",
        88,
        "84.78 (Burda et al., 2016)",
        False,
    ),
    Row(
        "M2, convolutional classifier, MNIST, 100 labels: error",
        f"m2_digits.py {SPLITS} --classifier cnn --shift 2 --latent-dim 50 --epochs 5",
        "error",
        0.15,
        "0.1197 (paper, dense classifier)",
        False,
    ),
    *(
        Row(f"{system}, bits/dim", arguments, "bits_per_dim", target, reference, maximize=False)
        for system, arguments, target, reference in (
            ("Glow, digits", "flow_digits.py", 2.13, ""),
            ("Glow, MNIST", f"flow_digits.py {EIGHT_BITS} --epochs 10", None, "1.05 (FFJORD)"),
            (
                "RealNVP, MNIST",
                f"flow_digits.py {EIGHT_BITS} --flow real_nvp --width 16 --epochs 3",
                None,
                "1.06 (FFJORD)",
            ),
            (
                "MAF, MNIST",
                f"flow_digits.py {EIGHT_BITS} --flow maf --steps 5 --epochs 10",
                None,
                "1.89 (paper)",
            ),
            ("RealNVP, digits", "flow_digits.py --flow real_nvp", 2.2, ""),
            ("MAF, digits", "flow_digits.py --flow maf", 2.2, ""),
            ("SRFlow, digits", "conditional_flow_digits.py", 1.55, ""),
            ("C-Flow, digits sharp and blurred", "conditional_flow_digits.py --task c_flow", 1.66, ""),
            ("Glow given the class, digits", "conditional_flow_digits.py --task attribute", 2.02, ""),
            (
                "gated PixelCNN given the class, digits",
                "pixelcnn_digits.py --levels 17 --conditional --epochs 30",
                1.75,
                "",
            ),
            ("RNADE, photographs", "rnade_photographs.py", 4.6, ""),
            ("PixelCNN of 8 levels, photographs", "pixelcnn_photographs.py", 0.6, ""),
            ("WaveNet, notes", "wavenet_tones.py", 2.15, "1.61 (their noise alone)"),
        )
    ),
    Row(
        "Transformer, documentation of CPython, nats a character",
        "transformer_text.py",
        "loss",
        1.5,
        "",
        False,
    ),
    Row("LSTM, documentation of CPython, nats a character", "lstm_text.py", "loss", 1.3, "", False),
    Row("VRNN, strokes, ELBO in nats", "vrnn_strokes.py", "elbo", 65),
    Row("STCN, strokes, ELBO in nats", "vrnn_strokes.py --model stcn", "elbo", 70),
    *(
        Row(
            f"{system}: gap to the truth in nats",
            f"{DENSITY} {arguments}",
            "gap",
            target,
            "0 (exact)",
            maximize=False,
        )
        for system, arguments, target in (
            ("RealNVP, two moons", "two_moons", 0.05),
            ("MAF, two moons", "two_moons --flow maf", 0.05),
            ("spline flow, two moons", "two_moons --flow spline_flow --layers 4", 0.05),
            ("NICE, two moons", "two_moons --flow nice", None),
            ("IAF, two moons", "two_moons --flow iaf", 0.05),
            ("continuous flow, two moons", "two_moons --flow continuous", 0.05),
            ("RealNVP, eight Gaussians", "eight_gaussians --octaves 4 --steps 12000", 0.05),
            (
                "MAF, eight Gaussians",
                "eight_gaussians --flow maf --layers 8 --hidden 128 128 --octaves 4 --steps 15000",
                0.05,
            ),
            ("spline flow, eight Gaussians", "eight_gaussians --flow spline_flow --layers 4", 0.05),
        )
    ),
    Row("GAN, ring: share within 3σ", "gan_ring.py", "high_quality", 0.9),
    Row("DCGAN, digits: Fréchet distance of pixels", "dcgan_digits.py", "frechet", 0.5, maximize=False),
    Row("WGAN-GP, digits: Fréchet distance of pixels", "wgan_digits.py", "frechet", 0.4, maximize=False),
    *(
        Row(f"{system}, return", f"{config} {options}".strip(), "return", target, reference, seeds=5)
        for system, config, options, target, reference in (
            ("PPO, CartPole, 100k steps", "ppo_cartpole.py", "", 500, "500 (rl-zoo)"),
            ("TRPO, CartPole, 100k steps", "trpo_cartpole.py", "", 475, ""),
            ("A2C, CartPole, 500k steps", "a2c_cartpole.py", "", 500, "500 (rl-zoo)"),
            ("actor-critic, CartPole, 500k steps", "a2c_cartpole.py", "--gae-lambda 0", 475, ""),
            ("REINFORCE with baseline, CartPole", "reinforce_cartpole.py", "", 475, ""),
            ("DQN, CartPole, 100k steps", "dqn_cartpole.py", "", 500, "500 (rl-zoo), 488.7 (CleanRL)"),
            ("C51, CartPole", "c51_cartpole.py", "", 475, "481.2 (CleanRL)"),
            ("SAC, Pendulum, 21k steps", "sac_pendulum.py", "", -160, "−157.0 (rl-zoo, 20k)"),
            ("TD3, Pendulum, 21k steps", "td3_pendulum.py", "", -160, "−151.9 (rl-zoo, 20k)"),
            ("DDPG, Pendulum, 21k steps", "td3_pendulum.py", DDPG, -170, "−152.1 (rl-zoo, 20k)"),
            ("PPO, Pendulum", "ppo_cartpole.py", PENDULUM, -200, "−172.2 (rl-zoo, 100k)"),
            ("PPO, Acrobot", "ppo_cartpole.py", ACROBOT, -85, "−73.5 (rl-zoo, 1M)"),
            ("DQN, MountainCar, 108k steps", "dqn_cartpole.py", MOUNTAIN_CAR, -110, "−100.8 (rl-zoo)"),
        )
    ),
    Row("SARSA, cliff: greedy return", "sarsa_cliff.py", "sarsa/return", -17, "−17 (the safe path)"),
    Row("Q-learning, cliff: greedy return", "sarsa_cliff.py", "q_learning/return", -13, "−13 (exact)"),
    Row("TD(0.8), random walk: error", "td_random_walk.py", "value_error", 0.04, "0 (exact)", False),
    Row("TD(0), random walk: error", "td_random_walk.py --lambda 0", "value_error", None, "0 (exact)", False),
    Row("Dyna-Q, maze: steps, median of 5", "dyna_q_maze.py", "median_length", 14, "14 (exact)", False),
    Row(
        "Monte Carlo, FrozenLake: success",
        "monte_carlo_frozenlake.py",
        "median_return",
        0.7,
        "0.7442 (exact)",
    ),
    Row(
        "Q-learning, FrozenLake: success, median of 5",
        "q_learning_frozenlake.py",
        "median_return",
        0.73,
        "0.7442 (exact)",
    ),
    Row(
        "Q-learning, Taxi: return, median of 5",
        "q_learning_frozenlake.py --environment taxi --decay 0",
        "median_return",
        7.8,
        "7.93 (exact)",
    ),
    Row(
        "value iteration, FrozenLake: V*(start)",
        "value_iteration_frozenlake.py",
        "start_value",
        0.542,
        "0.542026 (exact)",
    ),
]

# The full size of rows whose own is what two cores train in about an hour.
FULL = {
    "ResNet-20, a fifth of CIFAR-10 (train 10,000, test 2,000), two cores": "resnet_cifar10.py",
    "MADE, 4 masks, MNIST, fixed binarization, −log p in nats": (
        f"made_digits.py {FIXED} --hidden 8000 --num-masks 32 --epochs 300"
    ),
    "gated PixelCNN, MNIST, dynamic binarization, −log p in nats": (
        f"pixelcnn_digits.py {DYNAMIC} --features 64 --layers 12 --first-size 27 --epochs 100"
    ),
    "IWAE k=50, MNIST, −log p in nats, k=5000, dynamic binarization": (
        f"vae_digits.py {VAE} --k 50 --batch-size 20 --epochs 3280"
    ),
    "Glow, MNIST, bits/dim": f"flow_digits.py {EIGHT_BITS} --steps 32 --width 512 --epochs 250",
    "RealNVP, MNIST, bits/dim": f"flow_digits.py {EIGHT_BITS} --flow real_nvp --epochs 250",
    "MAF, MNIST, bits/dim": f"flow_digits.py {EIGHT_BITS} --flow maf --steps 10 --width 128 --epochs 250",
}
